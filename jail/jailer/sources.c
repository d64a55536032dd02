/* The sources of binds, as detached mounts: a privileged supervisor opens them with its own rights and sends them, an
 * ordinary user's jail opens them itself, with the same rights. */
#include "run.h"
#include "tree.h"

/* statx(2), as far as it is asked: older headers lack the mount. */
struct facts {
    uint32_t mask, unasked[4], uid, gid, also;
    uint64_t inode;
    uint32_t more[24];
    uint32_t major, minor;
    uint64_t mount, rest[13];
};

_Static_assert(offsetof(struct facts, uid) == 0x14 && offsetof(struct facts, inode) == 0x20 &&
                   offsetof(struct facts, major) == 0x88 && offsetof(struct facts, mount) == 0x90 && sizeof(struct facts) == 0x100,
               "as the kernel has it");

void source_identify(int fd, const char *path, struct identity *found)
{
    const unsigned flags = 0x800 | AT_EMPTY_PATH, asked = 0x1118; /* AT_NO_AUTOMOUNT; owners, inode, mount */
    struct facts x = {0};
    long done = SYS(__NR_statx, fd, path, flags, asked, &x);
    *found = (struct identity){x.mount, x.inode, x.major, x.minor, x.uid, x.gid, done};
}

/* In a jail that is made ahead: what was found before must be what has been opened. In other namespaces the mounts
 * and the owners have other numbers. */
static bool is_as_seen(const struct run *run, const struct node *n, int fd)
{
    struct identity now = {.error = fd};
    const struct identity *seen = run->seen ? &run->seen[n - run->plan->nodes] : NULL;
    if (!seen)
        return true;
    if (fd >= 0)
        source_identify(fd, "", &now);
    return now.error == seen->error && now.inode == seen->inode && now.major == seen->major && now.minor == seen->minor;
}

static bool source_open(const struct run *run, struct node *n, struct failure *f)
{
    struct stat st = {0};
    int fd = step_fault(STEP_SOURCE) ? -EIO : tree_find(n->data);
    TRY(f, STEP_SOURCE, n->line, is_as_seen(run, n, fd) ? 0 : -ESTALE);
    if (fd == -ENOENT && (n->flags & FLAG_OPTIONAL))
        return true;
    TRY(f, STEP_SOURCE, n->line, fd);
    long done = sys_fstat(fd, &st);
    n->folder = S_FORMAT(st.st_mode) == S_DIRECTORY;
    if (done == 0 && (n->flags & FLAG_DEVICE) && S_FORMAT(st.st_mode) != S_CHARACTER)
        done = -EINVAL;
    TRY(f, STEP_SOURCE, n->line, done);
    int owners = -1;
    if ((n->flags & FLAG_OWNER) && run->plan->pool)
        TRY(f, STEP_OWNER, n->line, owners = ids_owner_namespace(st.st_uid, st.st_gid, run->host_uid, run->host_gid));
    n->tree = tree_clone(fd, n->flags, owners);
    sys_close(fd);
    if (owners >= 0) {
        sys_close(owners);
        TRY(f, STEP_OWNER, n->line, n->tree);
    }
    TRY(f, STEP_SOURCE, n->line, n->tree);
    return true;
}

/* Root without CAP_SYS_ADMIN, as in a container, may not mount where it is: only what its jail's own namespace allows. */
bool sources_open(struct run *run, struct failure *f)
{
    for (unsigned i = 0; i < run->plan->node_count && !run->opens_sources; i++) {
        struct node *n = &run->plan->nodes[i];
        if (n->kind != NODE_BIND || source_open(run, n, f))
            continue;
        if (f->step != STEP_SOURCE || f->error != EPERM || run->plan->small_fd >= 0)
            return false;
        *f = (struct failure){0};
        run->opens_sources = true;
    }
    return true;
}

/* In order, as many in a message as it holds; the last goes up to the end of the plan. */
bool sources_send(struct run *run, struct failure *f)
{
    struct plan *plan = run->plan;
    struct parcel p = {.kind = PARCEL_TREES, .none = run->opens_sources};
    int fds[CHANNEL_FDS];
    unsigned count = 0;
    for (unsigned i = p.none ? plan->node_count : 0; i <= plan->node_count; i++) {
        const struct node *n = i < plan->node_count && plan->nodes[i].kind == NODE_BIND ? &plan->nodes[i] : NULL;
        bool absent = n && n->tree < 0;
        if (i == plan->node_count || (count > 0 && (absent || count == CHANNEL_FDS))) {
            p.end = i;
            p.bare = tree_bare();
            TRY(f, STEP_SOURCE, 0, channel_send(run->control[0], &p, sizeof p, fds, count));
            p.folders[0] = p.folders[1] = 0;
            count = 0;
        }
        if (count == 0)
            p.first = i;
        if (n && !absent) {
            p.folders[count / 64] |= (uint64_t)n->folder << count % 64;
            fds[count++] = n->tree;
        }
    }
    return true;
}

static void take(struct run *run, const struct parcel *p, const int *fds, unsigned count)
{
    run->opens_sources = p->none;
    if (p->bare)
        tree_set_bare();
    for (unsigned i = p->first, taken = 0; i < p->end && i < run->plan->node_count && taken < count; i++)
        if (run->plan->nodes[i].kind == NODE_BIND) {
            run->plan->nodes[i].folder = p->folders[taken / 64] >> taken % 64 & 1;
            run->plan->nodes[i].tree = fds[taken++];
        }
}

static bool heard; /* on the jail's side: all that the supervisor sends */

static bool hear(struct run *run, struct failure *f)
{
    int fds[CHANNEL_FDS];
    unsigned count;
    struct parcel p = {0};
    while (p.end < run->plan->node_count) {
        long n = channel_receive(run->control[1], &p, sizeof p, fds, &count);
        if (n == 0 || n == -ECONNRESET)
            sys_exit(125); /* the supervisor died or gave up: it says why, if it can */
        TRY(f, STEP_GO, 0, n < 0 ? n : n == sizeof p && p.kind == PARCEL_TREES ? 0 : -EBADMSG);
        take(run, &p, fds, count);
    }
    return heard = true;
}

int source_tree(struct run *run, struct node *n, struct failure *f)
{
    if (run->plan->pool && !heard && !hear(run, f))
        return -1;
    if (n->tree < 0 && (run->opens_sources || !run->plan->pool))
        source_open(run, n, f);
    return n->tree;
}
