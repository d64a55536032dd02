/* cgroup v2: where a run's cgroup can be. A cgroup hands controllers down only while no process is in it ("no
 * internal processes", cgroups(7)), so a caller's own cgroup serves only where nobody else is in it: the jailer moves
 * out of the way, into a leaf. Otherwise it is the top of what is mounted, as with container engines.
 *
 * Either way a folder "pyjail" stands between the two. It needs the controllers handed down to it, and for as long as
 * it does, nobody above it (systemd, when it thinks that none of its own units wants one) can take them from us. */
#include "cgroup.h"
#include "text.h"

#define FOLDER "pyjail"
#define LEAF "pyjail-supervisor"
#define SUBTREE "cgroup.subtree_control"
#define REMOVE_FOLDER 0x200 /* AT_REMOVEDIR */

static long make_folder(int parent, const char *name)
{
    long done = SYS(__NR_mkdirat, parent, name, 0755);
    return done == -EEXIST ? 0 : done;
}

/* Have a cgroup hand the controllers down to those below it. Writing what is so already would cost a wait. */
static long hand_down(int folder, const char *controllers)
{
    char already[512];
    LINE(order, 512);
    long n = cgroup_read_file(folder, SUBTREE, already, sizeof already);
    if (n < 0)
        return n;
    for (const char *at = controllers; (n = (long)cgroup_word(&at)) > 0; at += n)
        if (!cgroup_lists(already, at, (size_t)n)) {
            line_text(&order, " +");
            line_bytes(&order, at, (size_t)n);
        }
    return order.full ? -ENAMETOOLONG : order.used ? cgroup_write_file(folder, SUBTREE, order.data) : 0;
}

/* Whether we are the only process in it. One of another pid namespace counts as 0. */
static bool alone(int folder)
{
    char members[64];
    LINE(we, 24);
    line_number(&we, (uint64_t)SYS_0(__NR_getpid), 10);
    line_char(&we, '\n');
    return cgroup_read_file(folder, "cgroup.procs", members, sizeof members) > 0 && text_equal(members, we.data);
}

static void move_back(struct cgroup *c)
{
    LINE(order, 512);
    size_t n;
    for (const char *at = c->controllers; (n = cgroup_word(&at)) > 0; at += n) {
        line_text(&order, " -");
        line_bytes(&order, at, n);
    }
    /* If somebody else has begun to use it meanwhile, we stay in the leaf, and it stays. */
    if (cgroup_write_file(c->base, SUBTREE, order.data) == 0 && cgroup_write_file(c->base, "cgroup.procs", "0") == 0)
        SYS(__NR_unlinkat, c->base, LEAF, REMOVE_FOLDER);
    c->moved = false;
}

static long divide_own(struct cgroup *c, const char *membership)
{
    long done = cgroup_open_own(c, membership);
    if (done < 0)
        return done;
    c->base = (int)done;
    done = hand_down(c->base, c->controllers);
    if (done != -EBUSY || !alone(c->base))
        return done;
    done = make_folder(c->base, LEAF);
    if (done == 0)
        done = cgroup_write_file(c->base, LEAF "/cgroup.procs", "0");
    if (done < 0)
        return done;
    c->moved = true;
    return hand_down(c->base, c->controllers);
}

static long divide_top(struct cgroup *c)
{
    long done = sys_open(AT_FDCWD, c->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (done < 0)
        return done;
    c->base = (int)done;
    return hand_down(c->base, c->controllers);
}

/* ENODEV: the folder was there, and its last run has removed it meanwhile. */
static long open_folder(struct cgroup *c)
{
    long done = make_folder(c->base, FOLDER);
    if (done < 0)
        return done;
    done = c->parent = sys_open(c->base, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (done >= 0)
        done = hand_down(c->parent, c->controllers);
    return done == -ENOENT ? -ENODEV : done;
}

long cgroup_v2_place(struct cgroup *c, const char *membership)
{
    long own = divide_own(c, membership);
    if (own == 0)
        own = open_folder(c);
    if (own == 0 || own == -ENODEV)
        return own;
    cgroup_v2_leave(c);
    long top = divide_top(c);
    if (top == 0)
        top = open_folder(c);
    /* Of two reasons the one that the caller can do something about. */
    return top == 0 || top == -ENODEV ? top : own;
}

void cgroup_v2_leave(struct cgroup *c)
{
    if (c->parent >= 0) {
        sys_close(c->parent);
        SYS(__NR_unlinkat, c->base, FOLDER, REMOVE_FOLDER); /* busy as long as another run is in it */
    }
    if (c->moved)
        move_back(c);
    if (c->base >= 0)
        sys_close(c->base);
    c->parent = c->base = -1;
}
