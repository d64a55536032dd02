/* The root: a mount of its own, in which the plan's nodes are made one after the other, by descriptor. */
#include "run.h"
#include "text.h"
#include "tree.h"
#include <linux/mount.h>

/* ---- targets: found or made inside the root, never through a link that leads out of it ---- */

/* The folder in which the last target was made. Plans list what belongs together together, and most of a root is
 * small things in /etc and /dev: to look their folder up each time would be half of the work. */
static struct {
    int fd;
    size_t length;
    char path[4096];
} nearby = {.fd = -1};

static void forget_nearby(void)
{
    if (nearby.fd >= 0)
        sys_close(nearby.fd);
    nearby.fd = -1;
}

static long open_folder(int root, const char *path, size_t n);

/* The folder above a target, made where it is missing, and the target's last name. The folder is not the caller's
 * to close. */
static long parent_of(int root, const char *target, const char **name)
{
    size_t n = text_length(target);
    while (n > 1 && target[n - 1] == '/')
        n--;
    size_t at = n;
    while (at > 1 && target[at - 1] != '/')
        at--;
    *name = target + at;
    while (at > 1 && target[at - 1] == '/')
        at--;
    if (nearby.fd >= 0 && nearby.length == at && memcmp(nearby.path, target, at) == 0)
        return nearby.fd;
    long fd = open_folder(root, target, at);
    if (fd < 0)
        return fd;
    forget_nearby();
    memcpy(nearby.path, target, at);
    nearby.length = at;
    nearby.fd = (int)fd;
    return fd;
}

/* A copy of the last name without slashes behind it. */
static long clean_name(const char *name, char out[256])
{
    size_t n = 0;
    while (name[n] && name[n] != '/')
        n++;
    if (n >= 256)
        return -ENAMETOOLONG;
    memcpy(out, name, n);
    out[n] = 0;
    return 0;
}

/* Open the folder that is the first n bytes of path, making it and those above it where they are missing. */
static long open_folder(int root, const char *path, size_t n)
{
    char copy[sizeof nearby.path], last[256];
    const char *name;
    if (n >= sizeof copy)
        return -ENAMETOOLONG;
    memcpy(copy, path, n);
    copy[n] = 0;
    long fd = tree_open(root, copy, O_PATH | O_DIRECTORY);
    if (fd != -ENOENT)
        return fd;
    long parent = parent_of(root, copy, &name);
    if (parent < 0)
        return parent;
    long done = clean_name(name, last);
    if (done == 0)
        done = SYS(__NR_mkdirat, parent, last, 0755);
    /* A dangling link may stand there; the open tells. */
    return done < 0 && done != -EEXIST ? done : tree_open(root, copy, O_PATH | O_DIRECTORY);
}

/* Make the target, and open it; what is there already is taken as it is. */
static long make_target(int root, const char *target, bool folder, unsigned mode)
{
    char last[256];
    const char *name;
    long parent = parent_of(root, target, &name), fd = parent < 0 ? parent : clean_name(name, last);
    if (fd < 0)
        return fd;
    if (folder) {
        fd = SYS(__NR_mkdirat, parent, last, mode);
        if (fd == 0)
            return sys_open((int)parent, last, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    } else {
        fd = sys_open((int)parent, last, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd >= 0)
            return fd;
    }
    long there = tree_open(root, target, O_PATH);
    return there == -ENOENT ? fd : there;
}

/* ---- nodes ---- */

static long make_file(int root, const struct node *n)
{
    char last[256];
    const char *name;
    long parent = parent_of(root, n->target, &name), fd = parent < 0 ? parent : clean_name(name, last);
    if (fd < 0)
        return fd;
    fd = sys_open((int)parent, last, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, n->mode);
    if (fd < 0)
        return fd;
    long done = sys_write_all((int)fd, n->data, n->data_length);
    sys_close((int)fd);
    return done;
}

static long make_link(int root, const struct node *n)
{
    char last[256];
    const char *name;
    long parent = parent_of(root, n->target, &name), done = parent < 0 ? parent : clean_name(name, last);
    return done < 0 ? done : SYS(__NR_symlinkat, n->data, parent, last);
}

#define COVER_FLAGS (FLAG_RO | FLAG_NOSUID | FLAG_NODEV | FLAG_NOEXEC)

/* An empty folder over a folder; over anything else the root's null device on a mount without devices, which
 * cannot even be opened. */
static int make_cover(int root, int hidden)
{
    struct stat st;
    long done = sys_fstat(hidden, &st);
    if (done < 0)
        return (int)done;
    if (S_FORMAT(st.st_mode) == S_DIRECTORY)
        return tree_make("tmpfs", "size=4096,nr_inodes=2,mode=555", COVER_FLAGS);
    int null = tree_open(root, "/dev/null", O_PATH);
    if (null < 0)
        return null;
    int tree = tree_clone(null, COVER_FLAGS, -1);
    sys_close(null);
    return tree;
}

static long mask(int root, const struct node *n)
{
    int hidden = tree_open(root, n->target, O_PATH | O_NOFOLLOW);
    if (hidden < 0)
        return hidden == -ENOENT ? 0 : hidden;
    int cover = make_cover(root, hidden);
    long done = cover < 0 ? cover : tree_attach(root, cover, hidden, COVER_FLAGS);
    if (cover >= 0)
        sys_close(cover);
    sys_close(hidden);
    return done;
}

/* What a tmpfs gets only when everything has been made in it. */
static unsigned seal_of(const struct node *n)
{
    return n->kind == NODE_TMPFS ? n->flags & FLAG_RO : 0;
}

static int make_tree(struct run *run, struct node *n, struct failure *f)
{
    static const char *const types[] = {[NODE_TMPFS] = "tmpfs", [NODE_PROC] = "proc", [NODE_DEVPTS] = "devpts"};
    if (n->kind == NODE_BIND) {
        if (n->tree < 0 && (run->opens_sources || !run->plan->pool))
            source_open(run, n, f);
        return n->tree;
    }
    return tree_make(types[n->kind], n->data, n->flags & ~seal_of(n));
}

static bool mount_node(struct run *run, int root, struct node *n, struct failure *f)
{
    struct stat st;
    int tree = make_tree(run, n, f);
    if (f->step != STEP_NONE)
        return false;
    if (tree == -1 && n->kind == NODE_BIND) /* optional and absent */
        return true;
    TRY(f, STEP_MOUNT, n->line, tree);
    TRY(f, STEP_MOUNT, n->line, sys_fstat(tree, &st));
    bool folder = S_FORMAT(st.st_mode) == S_DIRECTORY;
    long target = make_target(root, n->target, folder, folder ? 0755 : 0644);
    TRY(f, STEP_MOUNT, n->line, target);
    long done = tree_attach(root, tree, (int)target, n->flags & ~seal_of(n));
    if (folder) /* it may cover the folder that we remember */
        forget_nearby();
    sys_close((int)target);
    if (n->kind == NODE_TMPFS || n->kind == NODE_DEVPTS) /* to be sealed, looked at in the end, opened in */
        n->tree = tree;
    else
        sys_close(tree);
    TRY(f, STEP_MOUNT, n->line, done);
    return true;
}

static bool make_node(struct run *run, int root, struct node *n, struct failure *f)
{
    long done = 0;
    switch (n->kind) {
    case NODE_TMPFS:
    case NODE_BIND:
    case NODE_PROC:
    case NODE_DEVPTS:
        return mount_node(run, root, n, f);
    case NODE_MASK:
        done = mask(root, n);
        break;
    case NODE_DIR:
        done = make_target(root, n->target, true, n->mode);
        if (done >= 0)
            sys_close((int)done);
        break;
    case NODE_FILE:
        done = make_file(root, n);
        break;
    case NODE_SYMLINK:
        done = make_link(root, n);
        break;
    }
    TRY(f, STEP_NODE, n->line, done);
    return true;
}

static long require_folder(int fd)
{
    struct stat st;
    long done = sys_fstat(fd, &st);
    return done < 0 ? done : S_FORMAT(st.st_mode) == S_DIRECTORY ? 0 : -ENOTDIR;
}

static bool seal(struct run *run, int root, struct failure *f)
{
    for (unsigned i = 0; i < run->plan->node_count; i++) {
        struct node *n = &run->plan->nodes[i];
        if (seal_of(n))
            TRY(f, STEP_SEAL, n->line, tree_restrict(root, n->tree, n->flags));
    }
    return true;
}

/* Mount the root over the old one and build in it. */
bool root_build(struct run *run, struct failure *f)
{
    struct plan *plan = run->plan;
    struct node *top = &plan->nodes[0];
    int root = make_tree(run, top, f);
    if (f->step != STEP_NONE)
        return false;
    TRY(f, STEP_ROOT, top->line, root);
    TRY(f, STEP_ROOT, top->line, require_folder(root));
    int old = sys_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    TRY(f, STEP_ROOT, top->line, old);
    TRY(f, STEP_ROOT, top->line, tree_attach(root, root, old, top->flags & ~seal_of(top)));
    for (unsigned i = 1; i < plan->node_count; i++)
        if (!make_node(run, root, &plan->nodes[i], f))
            return false;
    forget_nearby();
    top->tree = root;
    if (!seal(run, root, f))
        return false;
    TRY(f, STEP_PIVOT, 0, SYS(__NR_fchdir, root));
    TRY(f, STEP_PIVOT, 0, SYS(__NR_pivot_root, ".", "."));
    TRY(f, STEP_PIVOT, 0, SYS(__NR_umount2, ".", 2 /* MNT_DETACH */));
    TRY(f, STEP_PIVOT, 0, SYS(__NR_chdir, "/"));
    sys_close(old);
    sys_close(root);
    return true;
}
