/* A standby: a jail that is made ahead of its command, up to the payload's last steps. One for a single run, and only
 * as long as a jail that is made now would be the same. Here is its supervisor's part. */
#ifndef PYJAIL_FRONT
#include "request.h"
#include "standby.h"
#include "text.h"
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/signalfd.h>
#include <linux/time_types.h>

static struct {
    int channel, caller; /* to the serving jailer; the pidfd of who sends it requests */
    int mounts;          /* tells when the host's have changed */
} standby;

/* ---- whether there can be one ---- */

/* What is made in a folder of the host, or by way of a link into one, is not made without a command. */
static bool reaches_host(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->node_count; i++)
        if (leads_to_host(plan, plan->nodes[i].target, &plan->nodes[i]))
            return true;
    return false;
}

/* An audit, a relay and a terminal begin with the caller's own descriptors, a service manager with its environment. */
static bool possible(const struct plan *plan)
{
    return !plan->audit && !relay_wanted(plan) && plan->outcome_fd == UNSET &&
           !plan->outcome_file && plan->life_fd < 0 && plan->control_fd < 0 && !plan->name && !plan->notify_line && !plan->listen_line &&
           !reaches_host(plan);
}

/* ---- the supervisor ---- */

static bool note_sources(struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    size_t size = plan->node_count * sizeof *run->seen;
    long memory = SYS(__NR_mmap, 0, size, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TRY(f, STEP_HANDOVER, 0, memory < 0 && memory > -4096 ? memory : 0);
    run->seen = (struct identity *)memory;
    for (unsigned i = 0; i < plan->node_count; i++)
        if (plan->nodes[i].kind == NODE_BIND)
            source_identify(AT_FDCWD, plan->nodes[i].data, &run->seen[i]);
    return true;
}

static bool clear(int *fd, int above, struct failure *f)
{
    int copy = (int)SYS(__NR_fcntl, *fd, F_DUPFD_CLOEXEC, above);
    TRY(f, STEP_HANDOVER, 0, copy);
    sys_close(*fd);
    *fd = copy;
    return true;
}

/* Stand-ins keep the numbers of the payload's descriptors free of all that is ours. */
static bool take_places(struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    int above = 3;
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        above = plan->pass_fds[i] >= above ? plan->pass_fds[i] + 1 : above;
    if (!clear(&standby.channel, above, f) || !clear(&standby.caller, above, f) ||
        (plan->small_fd >= 0 && !clear(&run->plan->small_fd, above, f)))
        return false;
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        TRY(f, STEP_HANDOVER, 0, SYS(__NR_dup3, 0, plan->pass_fds[i], O_CLOEXEC));
    run->outcome = 2; /* so that all is measured; not written to */
    return true;
}

static bool watch_mounts(struct failure *f)
{
    TRY(f, STEP_HANDOVER, 0, standby.mounts = sys_open(AT_FDCWD, "/proc/self/mounts", O_RDONLY | O_CLOEXEC, 0));
    return true;
}

static void say(enum standby_news news)
{
    uint32_t word = news;
    channel_send(standby.channel, &word, sizeof word, NULL, 0);
}

/* The request, or false if there will be none, or nobody whom it could be handed to. */
static bool wait_for_request(struct run *run, struct asked *a)
{
    struct pollfd wait[] = {{.fd = standby.channel}, /* a request can wait until we are ready, but not the end */
                            {.fd = run->handover[0], .events = POLLIN},
                            {.fd = standby.caller, .events = POLLIN},
                            {.fd = run->init, .events = POLLIN},
                            {.fd = run->errors[0], .events = POLLIN},
                            {.fd = standby.mounts, .events = POLLPRI}}; /* and hold on to none that the host gives up */
    for (;;) {
        struct parcel said;
        int fds[CHANNEL_FDS];
        unsigned count;
        SYS(__NR_ppoll, wait, COUNT(wait), 0, 0, 8);
        if (wait[2].revents || wait[3].revents || wait[4].revents || wait[5].revents)
            return false;
        if (wait[0].revents)
            return request_receive(standby.channel, a) > 0;
        if (channel_hear(run->handover[0], &said, sizeof said, fds, &count) <= 0)
            return false;
        say(STANDBY_READY);
        wait[0].events = POLLIN;
    }
}

static bool unchanged(const struct run *run)
{
    struct pollfd mounts = {.fd = standby.mounts, .events = POLLPRI};
    struct __kernel_timespec now = {0, 0};
    struct identity found;
    SYS(__NR_ppoll, &mounts, 1, &now, 0, 8);
    if (mounts.revents || !depends_hold(run->plan))
        return false;
    for (unsigned i = 0; i < run->plan->node_count; i++) {
        if (run->plan->nodes[i].kind != NODE_BIND)
            continue;
        source_identify(AT_FDCWD, run->plan->nodes[i].data, &found);
        if (memcmp(&found, &run->seen[i], sizeof found) != 0)
            return false;
    }
    return true;
}

/* As if we had just been started: what came while nobody knew us was for others. */
static void forget_signals(const struct run *run)
{
    struct signalfd_siginfo info;
    while (sys_read(run->signals, &info, sizeof info) == sizeof info)
        ;
}

/* From here on whatever fails can be told where the outcome goes, and is told nowhere else. */
static bool take_over(struct run *run, struct asked *a, struct failure *f)
{
    struct plan *plan = run->plan;
    int *const own[] = {&standby.caller};
    run->start_us = clock_us();
    run->outcome = -1;
    plan->outcome_fd = a->fd[ASKED_OUTCOME];
    plan->control_fd = a->fd[ASKED_LIFE];
    plan->life_fd = standby.caller;
    TRY(f, STEP_HANDOVER, 0, request_place(a, own, COUNT(own)));
    return descriptors_outcome(run, f);
}

/* The text, then what the payload has as 0, 1, 2 and passed descriptors: it takes them while we look whether it may have
 * them, and goes no further before it has heard that. */
static bool hand_over(const struct run *run, struct asked *a, struct failure *f)
{
    int fds[4 + MAX_FDS] = {a->fd[ASKED_TEXT], 0, 1, 2};
    unsigned count = 4;
    for (unsigned i = 0; i < run->plan->pass_fd_count; i++)
        fds[count++] = run->plan->pass_fds[i];
    TRY(f, STEP_HANDOVER, 0, channel_send(run->handover[0], &a->head, offsetof(struct request, number), fds, count));
    return true;
}

static bool prepare(struct run *run, const struct asked *a, struct failure *f)
{
    struct command c;
    char *text;
    if (!descriptors_check(run, f))
        return false;
    TRY(f, STEP_COMMAND, 0, request_map(a, &text));
    TRY(f, STEP_COMMAND, 0, request_command(&a->head, text, &c) ? 0 : -EBADMSG);
    return command_prepare(run, &c, f);
}

/* To one that has ended already, and said why, it makes no difference. */
static bool let_begin(const struct run *run, struct failure *f)
{
    long done = channel_send(run->handover[0], "", 1, NULL, 0);
    TRY(f, STEP_HANDOVER, 0, done == -EPIPE || done == -ECONNRESET ? 0 : done);
    return true;
}

static bool let_go(const struct run *run, struct asked *a, struct failure *f)
{
    sys_close(run->handover[0]);
    sys_close(a->fd[ASKED_TEXT]);
    for (unsigned i = 0; i < a->head.given; i++)
        sys_close(a->fd[ASKED_GIVEN + i]);
    return let_go_of_streams(run, f);
}

/* What we have been asked for meanwhile is for another. */
static int leave(struct run *run)
{
    struct failure unheard;
    struct asked a;
    if (request_receive(standby.channel, &a) > 0)
        request_send(standby.channel, &a);
    call_off(run, &unheard);
    cgroups_remove(run, false);
    ids_release(run);
    return 0;
}

/* What we have taken is for another, and nothing of ours has it any more. */
static int refuse(struct run *run, const struct asked *a)
{
    int status = leave(run);
    request_send(standby.channel, a);
    return status;
}

/* The payload first: it is what is waited for. A caller that has gone and hears no answer is seen to have. */
static int run_it(struct run *run, struct asked *a)
{
    struct verdict verdict = no_verdict();
    bool runs = take_over(run, a, &verdict.failure) && hand_over(run, a, &verdict.failure);
    if (!unchanged(run))
        return refuse(run, a);
    runs = runs && prepare(run, a, &verdict.failure);
    if (!request_confirmed(a, standby.caller))
        return leave(run);
    runs = runs && let_begin(run, &verdict.failure);
    request_answer(a->fd[ASKED_LIFE], 0);
    sys_close(standby.channel);
    sys_close(standby.mounts);
    if (runs && let_go(run, a, &verdict.failure))
        supervise(run, &verdict);
    else
        call_off(run, &verdict.failure);
    return conclude(run, &verdict);
}

/* Whatever fails, nobody is told: a run that needs a jail then makes its own and fails the same way, or does not. */
int stand_by(struct plan *plan, int channel, int caller)
{
    struct run run = run_of(plan);
    struct failure f = {0};
    struct asked a;
    standby.channel = channel;
    standby.caller = caller;
    if (!possible(plan)) {
        say(STANDBY_IMPOSSIBLE);
        return leave(&run);
    }
    if (!take_places(&run, &f) || !watch_mounts(&f) || !note_sources(&run, &f) || !begin_signals(&run, &f) ||
        !launch(&run, &f))
        return leave(&run);
    cgroups_tend(&run);
    if (!wait_for_request(&run, &a))
        return leave(&run);
    if (!request_fits(&a.head, plan))
        return refuse(&run, &a);
    forget_signals(&run);
    return run_it(&run, &a);
}
#endif
