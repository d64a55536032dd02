/* A mount namespace with next to nothing in it. A clone copies every mount of the namespace in which it happens, and its
 * end takes them down again; jails that are cloned in this one are as fast on a host with a thousand mounts, and never
 * have one of them at all. What they show of the host their supervisor opens where it is itself (sources.c), so this
 * is for a privileged one only. */
#include "run.h"
#include "tree.h"
#include <linux/sched.h>

#define EVERYTHING_PRIVATE 0x44000 /* MS_REC | MS_PRIVATE */
#define DETACH 2                   /* MNT_DETACH */

/* Where the caller was: its namespace, and in that its root, which need not be the namespace's. */
static struct {
    int mounts, root;
} home = {-1, -1};

static long leave_home(void)
{
    home.mounts = sys_open(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
    if (home.mounts >= 0)
        home.root = sys_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    return home.mounts < 0 ? home.mounts : home.root;
}

void small_forget_home(void)
{
    if (home.mounts >= 0)
        sys_close(home.mounts);
    if (home.root >= 0)
        sys_close(home.root);
    home.mounts = home.root = -1;
}

static long go_home(void)
{
    long done = SYS(__NR_setns, home.mounts, CLONE_NEWNS);
    if (done == 0)
        done = SYS(__NR_fchdir, home.root);
    return done == 0 ? SYS(__NR_chroot, ".") : done;
}

/* A jail may have a /proc of its own only where the namespace that it comes from shows one, and as much of it. */
static long keep_proc(int tree)
{
    int there = tree_find("/proc"), proc = there < 0 ? there : tree_clone(there, FLAG_REC, -1);
    long done = proc < 0 ? proc : SYS(__NR_mkdirat, tree, "proc", 0555);
    if (done == 0)
        done = tree_attach(tree, proc, tree, "proc", 0);
    if (there >= 0)
        sys_close(there);
    if (proc >= 0)
        sys_close(proc);
    return done;
}

/* In the new namespace, which is a copy: an empty folder takes the place of all that is there. */
static long take_place(int tree)
{
    int root = sys_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0); /* the copy's */
    long done = root < 0 ? root : SYS(__NR_mount, 0, "/", 0, EVERYTHING_PRIVATE, 0);
    if (done == 0)
        done = tree_attach(tree, tree, root, "", 0);
    if (done == 0)
        done = keep_proc(tree);
    if (done == 0)
        done = SYS(__NR_fchdir, tree);
    if (done == 0)
        done = SYS(__NR_pivot_root, ".", ".");
    if (root >= 0)
        sys_close(root);
    return done < 0 ? done : SYS(__NR_umount2, ".", DETACH);
}

static int empty(void)
{
    int self = sys_open(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
    int tree = self < 0 ? self : tree_make("tmpfs", "size=4096,nr_inodes=2,mode=555", FLAG_NOSUID | FLAG_NODEV | FLAG_NOEXEC);
    long done = tree < 0 ? tree : take_place(tree);
    if (tree >= 0)
        sys_close(tree);
    if (done < 0 && self >= 0)
        sys_close(self);
    return done < 0 ? (int)done : self;
}

/* All that will be done needs privileges which one may have in part: to mount where we are, to go and to come back. */
static long can_leave(void)
{
    int tree = tree_clone(home.root, 0, -1);
    if (tree < 0)
        return tree;
    sys_close(tree);
    return tree_bare() ? -ENOSYS : go_home();
}

int small_make(void)
{
    long done = leave_home();
    if (done >= 0)
        done = can_leave();
    if (done >= 0)
        done = SYS(__NR_unshare, CLONE_NEWNS);
    if (done == 0) {
        done = empty();
        if (go_home() < 0)
            sys_exit(125); /* neither here nor there */
    }
    small_forget_home();
    return (int)done;
}

long small_enter(int small)
{
    long done = leave_home();
    if (done >= 0)
        done = SYS(__NR_setns, small, CLONE_NEWNS);
    if (done < 0)
        small_forget_home();
    return done;
}

long small_leave(void)
{
    long done = go_home();
    small_forget_home();
    return done;
}
