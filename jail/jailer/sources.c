/* The sources of binds, as detached mounts: a privileged supervisor opens them with its own rights and sends them, an
 * ordinary user's jail opens them itself, with the same rights. */
#include "run.h"
#include "tree.h"

static int owners_of(const struct run *run, const struct node *n, const struct stat *st)
{
    if (!(n->flags & FLAG_OWNER) || !run->plan->pool)
        return -1;
    return ids_owner_namespace(st->st_uid, st->st_gid, run->host_uid, run->host_gid);
}

bool source_open(const struct run *run, struct node *n, struct failure *f)
{
    struct stat st = {0};
    int fd = step_fault(STEP_SOURCE) ? -EIO : tree_find(n->data);
    if (fd == -ENOENT && (n->flags & FLAG_OPTIONAL))
        return true;
    TRY(f, STEP_SOURCE, n->line, fd);
    long done = sys_fstat(fd, &st);
    if (done == 0 && (n->flags & FLAG_DEVICE) && S_FORMAT(st.st_mode) != S_CHARACTER)
        done = -EINVAL;
    TRY(f, STEP_SOURCE, n->line, done);
    int owners = owners_of(run, n, &st);
    if (owners != -1)
        TRY(f, STEP_OWNER, n->line, owners);
    n->tree = tree_clone(fd, n->flags, owners);
    sys_close(fd);
    if (owners >= 0) {
        sys_close(owners);
        TRY(f, STEP_OWNER, n->line, n->tree);
    }
    TRY(f, STEP_SOURCE, n->line, n->tree);
    return true;
}

bool sources_open(struct run *run, struct failure *f)
{
    for (unsigned i = 0; i < run->plan->node_count; i++)
        if (run->plan->nodes[i].kind == NODE_BIND && !source_open(run, &run->plan->nodes[i], f))
            return false;
    return true;
}

bool sources_send(struct run *run, struct failure *f)
{
    struct plan *plan = run->plan;
    int fds[CHANNEL_FDS];
    unsigned count = 0;
    struct parcel p = {.kind = PARCEL_TREES};
    for (unsigned i = 0; i <= plan->node_count; i++) {
        bool last = i == plan->node_count, bind = !last && plan->nodes[i].kind == NODE_BIND;
        bool absent = bind && plan->nodes[i].tree < 0;
        if (count > 0 && (last || absent || count == CHANNEL_FDS)) {
            p.end = i;
            p.bare = tree_bare();
            TRY(f, STEP_SOURCE, 0, channel_send(run->control[0], &p, sizeof p, fds, count));
            count = 0;
        }
        if (count == 0)
            p.first = i;
        if (bind && !absent)
            fds[count++] = plan->nodes[i].tree;
    }
    return true;
}

void sources_take(struct run *run, const struct parcel *p, const int *fds, unsigned count)
{
    if (p->bare)
        tree_set_bare();
    for (unsigned i = p->first, taken = 0; i < p->end && i < run->plan->node_count && taken < count; i++)
        if (run->plan->nodes[i].kind == NODE_BIND)
            run->plan->nodes[i].tree = fds[taken++];
}
