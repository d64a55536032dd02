/* cgroup v1: nobody can be born into another cgroup than the caller's, so the jail's side moves itself, with the
 * supervisor's right: by descriptors of the files that take members. */
#include "cgroup.h"
#include "text.h"

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

static int watch_memory(int folder)
{
    LINE(order, 32);
    int event = (int)SYS(__NR_eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
    int control = sys_open(folder, "memory.oom_control", O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    line_number(&order, (unsigned)event, 10);
    line_char(&order, ' ');
    line_number(&order, (unsigned)control, 10);
    bool done = event >= 0 && control >= 0 && cgroup_write_file(folder, "cgroup.event_control", order.data) == 0;
    if (control >= 0)
        sys_close(control);
    if (!done && event >= 0)
        sys_close(event);
    return done ? event : -1;
}

/* In version 2 the kernel ends the whole jail when memory runs out (memory.oom.group). In version 1 it ends one
 * process, and the rest is ours: this becomes readable then. -1 where there is nothing to watch, or no such events
 * (a real-time kernel). */
int cgroups_oom_event(const struct run *run)
{
    const struct cgroup *c = plan_cgroup(run->plan, "memory");
    return c && c->version == 1 ? watch_memory(c->folder) : -1;
}
