/* One run from the parsed plan to the exit status. */
#include "run.h"
#include "audit.h"
#include "report.h"
#include "peers.h"
#include <linux/poll.h>
#include <linux/time.h>
#include <linux/time_types.h>
#include <linux/wait.h>

#define STOP_WRITING 1 /* SHUT_WR */

bool failed(struct failure *f, enum step step, unsigned line, long error)
{
    *f = (struct failure){.step = step, .line = line, .error = (int32_t)error};
    return false;
}

int64_t clock_us(void)
{
    struct __kernel_timespec t;
    SYS(__NR_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

bool begin_signals(struct run *run, struct failure *f)
{
    TRY(f, STEP_SIGNALS, 0, run->signals = signals_take());
    return true;
}

void bury(struct run *run, struct rusage *usage)
{
    if (run->pid > 0)
        SYS(__NR_wait4, run->pid, 0, __WALL, usage);
    run->pid = 0;
}

/* The start failed on our side. If the jail's side had failed first, ours was only the consequence; what it tells when
 * we leave is the consequence of that. */
void call_off(struct run *run, struct failure *f)
{
    struct failure first;
    struct pollfd told = {.fd = run->errors[0], .events = POLLIN};
    struct __kernel_timespec now = {0, 0};
    if (run->pid <= 0)
        return;
    SYS(__NR_ppoll, &told, 1, &now, 0, 8);
    sys_close(run->control[0]); /* the waiting child sees the end and goes */
    bury(run, NULL);
    if ((told.revents & POLLIN) && sys_read(run->errors[0], &first, sizeof first) == sizeof first &&
        first.step < STEP_COUNT)
        *f = first;
}

/* Whoever reads what we tell people may be slow or gone to sleep; then any signal ends the wait, and nothing is told.
 * Who has asked for the end already is not kept waiting at all. */
static bool listened_to(const struct run *run, const struct verdict *v)
{
    struct pollfd wait[] = {{.fd = 2, .events = POLLOUT}, {.fd = run->signals, .events = POLLIN}};
    struct __kernel_timespec now = {0, 0};
    SYS(__NR_ppoll, wait, COUNT(wait), v->asked_to_end ? &now : NULL, 0, 8);
    return wait[0].revents;
}

static void tell(const struct run *run, const struct verdict *v)
{
    bool something = v->failure.step != STEP_NONE || run->plan->stats || run->plan->audit;
    if (!something || !listened_to(run, v))
        return;
    if (v->failure.step != STEP_NONE)
        report(run->plan, &v->failure, run->command);
    tally_tell(run->plan);
    stats_write(run, v);
}

struct run run_of(struct plan *plan)
{
    return (struct run){.plan = plan,
                        .command = "",
                        .outcome = -1,
                        .signals = -1,
                        .id_lock = -1,
                        .manager = -1,
                        .handover = {-1, -1},
                        .listener = -1,
                        .oom_event = -1,
                        .finals = {-1, -1, -1, -1},
                        .cpu_usage = -1,
                        .start_us = clock_us()};
}

struct verdict no_verdict(void)
{
    return (struct verdict){.peak_memory = -1, .oom_kills = -1, .pids_peak = -1, .pids_hit = -1};
}

static void let_go_of_init(const struct run *run)
{
    const int held[] = {run->control[0], run->errors[0], run->init, run->signals, run->executable};
    for (unsigned i = 0; i < COUNT(held); i++)
        sys_close(held[i]);
}

int conclude(struct run *run, struct verdict *v)
{
    registry_leave();
    relay_end();
    terminal_restore(); /* before anything is told there */
    cgroups_read(run, v);
    if (cgroups_birthplace(run) >= 0)
        bury(run, NULL); /* init was born there */
    cgroups_remove(run, false);
    ids_release(run);
    tell(run, v);
    int status = outcome_status(run, v);
    manager_ended(run, v);
    long written = outcome_write(run, v);
    if (written < 0 && v->failure.step != STEP_OUTCOME) {
        struct failure lost = {.step = STEP_OUTCOME, .error = (int32_t)-written, .number = (uint32_t)run->outcome};
        report(run->plan, &lost, "");
        status = 125;
    }
    if (run->plan->control_fd >= 0) /* that is all; who waits for it need not wait for init */
        SYS(__NR_shutdown, run->plan->control_fd, STOP_WRITING);
    if (run->pid > 0) /* what we hold of it ends while init does, not after that */
        let_go_of_init(run);
    bury(run, NULL); /* nothing of the run outlives us */
    return status;
}

int execute(struct plan *plan, const struct command *c)
{
    struct run run = run_of(plan);
    struct verdict verdict = no_verdict();
    struct failure *f = &verdict.failure;
    if (descriptors_outcome(&run, f) && manager_sockets(&run, c->environment, f) && descriptors_check(&run, f) &&
        descriptors_close_rest(&run, f) && command_prepare(&run, c, f) && manager_connect(&run, c->environment, f) &&
        audit_prepare(plan, f) && registry_enter_named(&run, f) && begin_signals(&run, f)) {
        if (launch(&run, f))
            supervise(&run, &verdict);
        else
            call_off(&run, f);
    }
    return conclude(&run, &verdict);
}
