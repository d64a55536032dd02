/* cgroup v1: nobody can be born into another cgroup than the caller's, so the jail's side moves itself, with the
 * supervisor's right: by descriptors of the files that take members. */
#include "cgroup.h"

unsigned cgroups_gated(const struct plan *plan)
{
    unsigned n = 0;
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        n += plan->cgroups[i].version == 1;
    return n;
}

static int open_members(int folder)
{
    return sys_open(folder, "tasks", O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0);
}

bool cgroups_open(const struct run *run, struct gates *g, struct failure *f)
{
    for (unsigned i = 0, n = 0; i < run->plan->cgroup_count; i++) {
        const struct cgroup *c = &run->plan->cgroups[i];
        if (c->version != 1)
            continue;
        TRY(f, STEP_CGROUP, c->line, g->in[n] = open_members(c->folder));
        TRY(f, STEP_CGROUP, c->line, g->out[n] = open_members(c->parent));
        n++;
    }
    return true;
}

/* A thread that moves itself, and nothing but itself, spares the kernel the lock that all forks and exits share, and
 * so a wait of milliseconds for every processor. */
static bool move(const struct plan *plan, const int *fds, struct failure *f)
{
    for (unsigned i = 0, n = 0; i < plan->cgroup_count; i++)
        if (plan->cgroups[i].version == 1)
            TRY(f, STEP_CGROUP_JOIN, plan->cgroups[i].line, sys_write(fds[n++], "0", 1));
    return true;
}

bool cgroups_enter(const struct run *run, const struct gates *g, struct failure *f)
{
    return move(run->plan, g->in, f);
}

bool cgroups_leave(const struct run *run, const struct gates *g, struct failure *f)
{
    return move(run->plan, g->out, f);
}
