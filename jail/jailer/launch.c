/* The supervisor's side of the start: channel, clone, maps, cgroup, go. */
#include "run.h"
#include "text.h"
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/time_types.h>

#define SOCKET_UNIX 1
#define SOCKET_SEQPACKET 5

static bool make_channel(struct run *run, struct failure *f)
{
    TRY(f, STEP_CHANNEL, 0, SYS(__NR_socketpair, SOCKET_UNIX, SOCKET_SEQPACKET | O_CLOEXEC, 0, run->control));
    TRY(f, STEP_CHANNEL, 0, SYS(__NR_pipe2, run->errors, O_CLOEXEC));
    if (run->seen)
        TRY(f, STEP_CHANNEL, 0, SYS(__NR_socketpair, SOCKET_UNIX, SOCKET_SEQPACKET | O_CLOEXEC, 0, run->handover));
    /* Only a path handle: nothing in the jail can write to what init is executed from. */
    TRY(f, STEP_CHANNEL, 0, run->executable = sys_open(AT_FDCWD, "/proc/self/exe", O_PATH | O_CLOEXEC, 0));
    return true;
}

static bool clone_jail(struct run *run, struct failure *f)
{
    /* Those that take long follow at once, made by the child: of the network in a thread (network.c), of IPC while it
     * waits for us. */
    uint64_t flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME;
    /* No exit signal: the pidfd tells, and a caller that ignores SIGCHLD makes no difference. */
    struct clone_args args = {.flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)&run->init};
    int birthplace = cgroups_birthplace(run);
    if (birthplace >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)birthplace;
    }
    if (run->plan->small_fd >= 0)
        TRY(f, STEP_CLONE, 0, small_enter(run->plan->small_fd));
    long pid = step_fault(STEP_CLONE) ? -EIO : SYS(__NR_clone3, &args, sizeof args);
    if (pid == 0)
        child(run);
    if (pid > 0)
        run->pid = (int)pid;
    if (run->plan->small_fd >= 0)
        TRY(f, STEP_CLONE, 0, small_leave());
    TRY(f, STEP_CLONE, 0, pid);
    return true;
}

/* Only the supervisor of a root run may raise a hard limit; inside, no privilege over limits is left. */
static bool raise_limits(struct run *run, struct failure *f)
{
    for (unsigned i = 0; i < run->plan->limit_count; i++) {
        const struct limit *l = &run->plan->limits[i];
        uint64_t now[2];
        if (!l->exact)
            continue;
        TRY(f, STEP_RAISE, l->line, SYS(__NR_prlimit64, 0, l->resource, 0, now));
        if (l->hard <= now[1])
            continue;
        now[1] = l->hard;
        TRY(f, STEP_RAISE, l->line, SYS(__NR_prlimit64, run->pid, l->resource, now, 0));
    }
    return true;
}

/* A child that has ended already hears nothing; what it reported is collected as ever. */
long say_go(const struct run *run, bool helper, const int *fds, unsigned count)
{
    struct parcel go = {.kind = PARCEL_GO, .helper = helper};
    long done = channel_send(run->control[0], &go, sizeof go, fds, count);
    return done == -EPIPE || done == -ECONNRESET ? 0 : done;
}

bool may_run(const struct run *run)
{
    return (!run->plan->audit || run->listener >= 0) && !pty_missing(run);
}

/* Whatever the jail gets to build its root from, while it has begun with that. */
static bool hand_over_sources(struct run *run, struct failure *f)
{
    struct plan *plan = run->plan;
    if (!plan->pool)
        return true;
    if (!sources_open(run, f) || !sources_send(run, f))
        return false;
    for (unsigned i = 0; i < plan->node_count; i++)
        if (plan->nodes[i].tree >= 0)
            sys_close(plan->nodes[i].tree);
    return true;
}

static bool start_building(struct run *run, struct failure *f)
{
    TRY(f, STEP_GO, 0, say_go(run, false, &run->id_lock, run->id_lock >= 0));
    return true;
}

/* Until the network is made or the child has ended; no longer than the run may last, nor when there is a signal to heed.
 * Whichever it is, there is nothing to decide here: supervise() does. */
static bool wait_for_network(struct run *run, struct failure *f)
{
    struct pollfd wait[] = {{.fd = run->control[0], .events = POLLIN}, {.fd = run->signals, .events = POLLIN}};
    int64_t most = run->plan->timeout_ms;
    struct __kernel_timespec t = {most / 1000, most % 1000 * 1000000};
    struct parcel said = {.kind = PARCEL_GO};
    int fds[CHANNEL_FDS];
    unsigned count;
    while (run->plan->own_network && said.kind != PARCEL_NETWORK) {
        long ready = SYS(__NR_ppoll, wait, COUNT(wait), most == UNSET ? NULL : &t, 0, 8);
        if (ready <= 0 || wait[1].revents || channel_hear(run->control[0], &said, sizeof said, fds, &count) <= 0)
            break;
        if (said.kind == PARCEL_SCRATCH)
            scratch_keep(fds, count);
        else if (said.kind == PARCEL_PTY && !pty_take(run, fds, count, f))
            return false;
    }
    return true;
}

/* The second go carries the ways into the cgroups of version 1, which are made while the jail builds its root. */
static bool hand_over_cgroups(struct run *run, struct failure *f)
{
    struct gates g;
    int fds[2 * MAX_CGROUPS];
    unsigned count = cgroups_gated(run->plan);
    if (!cgroups_make(run, f) || !cgroups_open(run, &g, f))
        return false;
    memcpy(fds, g.in, count * sizeof(int));
    memcpy(fds + count, g.out, count * sizeof(int));
    TRY(f, STEP_GO, 0, say_go(run, false, fds, 2 * count));
    for (unsigned i = 0; i < 2 * count; i++)
        sys_close(fds[i]);
    return true;
}

/* Keep nothing of the payload's: it must see end-of-file and SIGPIPE as if it had the caller's ends alone. */
bool let_go_of_streams(const struct run *run, struct failure *f)
{
    int null = sys_open(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
    TRY(f, STEP_DESCRIPTORS, 0, null);
    TRY(f, STEP_DESCRIPTORS, 0, SYS(__NR_dup3, null, 0, 0));
    TRY(f, STEP_DESCRIPTORS, 0, SYS(__NR_dup3, null, 1, 0));
    sys_close(null);
    for (unsigned i = 0; i < run->plan->pass_fd_count; i++)
        sys_close(run->plan->pass_fds[i]);
    return true;
}

/* The third lets init let the payload go, when the limits are set and nothing of the payload's is left here; where there
 * is an audit, when it has begun, and where there is a terminal, when we have it (supervise.c). A jail that has no
 * command yet has stand-ins for what is the payload's, so that nothing else gets their numbers. */
static bool let_payload_run(struct run *run, struct failure *f)
{
    if (!cgroups_limit(run, f) || (!run->seen && !let_go_of_streams(run, f)))
        return false;
    if (run->plan->cpu_ms != UNSET)
        TRY(f, STEP_CPU_TIME, run->plan->cpu_line, cgroups_watch_cpu(run));
    if (may_run(run))
        TRY(f, STEP_GO, 0, say_go(run, false, NULL, 0));
    return true;
}

static bool let_go(const struct run *run)
{
    sys_close(run->control[1]);
    sys_close(run->errors[1]);
    return !run->seen || sys_close(run->handover[1]) == 0;
}

bool launch(struct run *run, struct failure *f)
{
    return make_channel(run, f) && terminal_find(run, f) && relay_make(run, f) && cgroups_prepare(run, f) && clone_jail(run, f) && let_go(run) &&
           ids_reserve(run, f) && relay_start(run, f) && raise_limits(run, f) && ids_map(run, f) && start_building(run, f) &&
           hand_over_sources(run, f) && wait_for_network(run, f) && hand_over_cgroups(run, f) && let_payload_run(run, f);
}
