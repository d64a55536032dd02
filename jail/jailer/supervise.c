/* The supervisor's wait: for the end of init, for the clock, for signals to pass on. */
#include "audit.h"
#include "supervise.h"
#include <asm/signal.h>
#include <linux/poll.h>
#include <linux/resource.h>
#include <linux/signalfd.h>
#include <linux/socket.h>
#include <linux/time_types.h>

#define LAST_WORDS_US 1000000 /* between an end by force and ours: to report, to pass on the rest of the output */
#define REGISTER_AFTER_US 100000 /* of those that end before, nobody would learn */
#define STRAGGLERS_US 100000 /* that an init which was killed has for its end, before others are, and again after each time */
#define FROM_KERNEL 0x80 /* SI_KERNEL: of these signals, those that a terminal sends */

/* What the supervisor waits for; poll passes over a descriptor of -1. */
enum { ON_INIT, ON_SIGNALS, ON_CONTROL, ON_ERRORS, ON_RELAY, ON_CALLS, ON_MEMORY, ON_MANAGER, ON_PEERS };

/* A full channel or a dying init loses it, as any signal to a dying process is lost; it must not block us. */
static bool order(struct watch *w, int signal, enum whom whom)
{
    struct order o = {signal, whom, 0};
    return channel_send(w->run->control[0], &o, sizeof o, NULL, 0) >= 0;
}

static void kill_all(struct watch *w)
{
    SYS(__NR_pidfd_send_signal, w->run->init, SIGKILL, 0, 0);
    cgroups_kill(w->run);
    wake_jail(w);
    w->kill_at = NEVER;
    w->leave_at = clock_us() + LAST_WORDS_US;
    w->stragglers_at = clock_us() + STRAGGLERS_US;
}

static void blame(struct watch *w, enum cause cause)
{
    if (w->verdict->cause == BY_ITSELF)
        w->verdict->cause = cause;
}

/* Init does it, which reaps them and tells how the payload ended and what all of them used; if it cannot, it goes the
 * same way. */
void end_by_force(struct watch *w)
{
    bool again = w->run->forced;
    if (!w->started || w->ended)
        return kill_all(w);
    w->run->forced = true;
    w->verdict->killed |= !w->verdict->known;
    if (again || !order(w, SIGKILL, EVERYONE))
        return kill_all(w);
    wake_jail(w);
    w->kill_at = w->leave_at = clock_us() + LAST_WORDS_US;
}

void end_now(struct watch *w, enum cause cause)
{
    blame(w, cause);
    if (w->leave_at == NEVER)
        end_by_force(w);
}

/* A polite end now, the certain one after the grace. */
static void end_soon(struct watch *w, enum cause cause, int signal)
{
    blame(w, cause);
    if (w->kill_at != NEVER || w->leave_at != NEVER)
        return;
    if (w->ended) { /* only the caller holds us up */
        w->leave_at = clock_us() + LAST_WORDS_US;
        return;
    }
    manager_stopping(w->run);
    order(w, signal, THE_PAYLOAD);
    order(w, SIGCONT, EVERYONE); /* a stopped payload could not even die of it */
    wake_jail(w);
    w->kill_at = clock_us() + w->run->plan->grace_ms * 1000;
}

/* The terminal is the shell's from here on, until it lets us go on. */
static void stop_ourselves(struct watch *w)
{
    w->stopping = false;
    terminal_restore();
    SYS(__NR_kill, SYS_0(__NR_getpid), SIGSTOP);
}

/* The jail is gone, and only the caller, who has not taken its output, holds us up: this is for ourselves. */
static void heed(struct watch *w, int signal)
{
    switch (signal) {
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
    case SIGQUIT:
        w->verdict->asked_to_end = true;
        end_soon(w, BY_ITSELF, SIGTERM);
        break;
    case SIGTSTP:
        stop_ourselves(w);
    }
}

static void pass_on(struct watch *w, int signal, bool from_terminal)
{
    switch (signal) {
    case SIGTERM:
        w->verdict->asked_to_end = true;
        end_soon(w, BY_ITSELF, SIGTERM);
        break;
    case SIGTSTP: /* the terminal's stop key: the jail first; when init has done it, ourselves (hear_init) */
        order(w, SIGSTOP, EVERYONE);
        w->stopping = true;
        if (w->state == IS_PAUSED) /* it takes nothing from the terminal, and is seen to stop when it goes on */
            stop_ourselves(w);
        break;
    case SIGCONT:
        order(w, signal, EVERYONE);
        w->stopping = false;
        pty_resume();
        break;
    default: /* a key press is for the whole foreground group, a kill(2) for one process */
        if (!pty_heed(signal, from_terminal))
            order(w, signal, from_terminal ? ITS_GROUP : THE_PAYLOAD);
    }
}

/* By request. The supervisor goes on, whatever the jail does. */
bool signal_jail(struct watch *w, int signal)
{
    if (w->ended || w->verdict->known)
        return false;
    if (signal == SIGKILL)
        end_by_force(w);
    else if (signal == SIGTSTP || signal == SIGSTOP)
        order(w, SIGSTOP, EVERYONE);
    else
        pass_on(w, signal, false);
    return true;
}

static void take_signals(struct watch *w)
{
    struct signalfd_siginfo info;
    while (sys_read(w->run->signals, &info, sizeof info) == sizeof info)
        if (w->ended)
            heed(w, (int)info.ssi_signo);
        else
            pass_on(w, (int)info.ssi_signo, info.ssi_code == FROM_KERNEL);
}

static void check_clock(struct watch *w)
{
    int64_t now = clock_us();
    if (now >= w->register_at) {
        w->register_at = NEVER;
        registry_enter(w->run);
    }
    if (now >= w->pause_at)
        check_pause(w);
    if (now >= w->kill_at)
        end_by_force(w);
    if (now >= w->stragglers_at && !w->ended) {
        stragglers_kill(w->run);
        w->stragglers_at = clock_us() + STRAGGLERS_US;
    }
    if (now >= w->oom_at)
        check_memory(w);
    if (now >= w->timeout_at) {
        w->timeout_at = NEVER;
        end_soon(w, BY_TIMEOUT, SIGTERM);
    }
    if (now >= w->idle_at) { /* unless there was output meanwhile, of which nobody has woken us */
        w->idle_at = w->verdict->known ? NEVER : relay_idle_since() + w->run->plan->idle_ms * 1000;
        if (now >= w->idle_at) {
            w->idle_at = NEVER;
            end_soon(w, BY_IDLE_TIMEOUT, SIGTERM);
        }
    }
    if (now >= w->cpu_at) {
        w->cpu_at = cputime_next(w->run);
        if (w->cpu_at == 0) {
            w->cpu_at = NEVER;
            end_now(w, BY_CPU_TIME);
        }
    }
}

static int64_t microseconds(const struct __kernel_old_timeval *t)
{
    return (int64_t)t->tv_sec * 1000000 + t->tv_usec;
}

/* What init says, as far as it has said it. An order that it left unread resets the connection, which is told before
 * what it said; telling clears it. */
static void hear_init(struct watch *w)
{
    struct parcel said;
    int fds[CHANNEL_FDS];
    unsigned count;
    long n;
    do {
        n = channel_hear(w->run->control[0], &said, sizeof said, fds, &count);
        if (n != sizeof said)
            continue;
        if (said.kind == PARCEL_SCRATCH) {
            scratch_keep(fds, count);
        } else if (said.kind == PARCEL_FAREWELL) {
            w->verdict->known = true;
            w->verdict->wait_status = said.wait_status;
            event_exited(w->run, said.wait_status);
            wake_jail(w); /* the others are to end with it */
        } else if (said.kind == PARCEL_GONE) { /* while init and the namespaces come to their end */
            w->gone = true;
            w->verdict->user_us = said.user_us;
            w->verdict->system_us = said.system_us;
            cgroups_read(w->run, w->verdict);
            cgroups_remove(w->run, true);
            if (w->verdict->oom_kills > 0)
                event_tell(w->run, "oom", "");
        } else if (said.kind == PARCEL_STOPPED) {
            event_tell(w->run, "stopped", "");
            if (w->stopping)
                stop_ourselves(w);
        } else if (said.kind == PARCEL_GATHERED) {
            pause_gathered(w, said.outside);
        } else if (said.kind == PARCEL_PTY) {
            if (!pty_take(w->run, fds, count, &w->verdict->failure))
                kill_all(w);
            else if (may_run(w->run))
                say_go(w->run, false, NULL, 0);
        } else if (said.kind == PARCEL_LISTENER && count == 1) { /* from here on no call goes unheard */
            w->run->listener = fds[0];
            w->run->payload = said.payload;
            say_go(w->run, true, NULL, 0);
        } else if (said.command) {
            peers_hear_command(w->run, &said);
        }
    } while (n > 0 || n == -ECONNRESET);
    w->silent = n == 0;
    if (w->silent) /* and init can wait for nobody who is frozen */
        wake_jail(w);
}

/* One at a time, however many there are: signals and the clock come between. */
static void hear_call(struct watch *w, int events)
{
    if (events & POLLIN && !audit_serve(w->run, w->verdict))
        kill_all(w);
    w->speechless = !(events & POLLIN) && events & POLLHUP;
}

/* Init did not live to tell what they all used. */
static void count_time(struct watch *w)
{
    struct rusage usage = {0};
    bury(w->run, &usage);
    if (w->verdict->cpu_counted)
        return;
    w->verdict->user_us = microseconds(&usage.ru_utime);
    w->verdict->system_us = microseconds(&usage.ru_stime);
}

/* Nobody of the jail is left, or init alone, whose end takes a while: collect what init said, what failed, what they
 * used. */
static void collect(struct watch *w)
{
    struct run *run = w->run;
    struct verdict *v = w->verdict;
    struct failure failure;
    hear_init(w);
    if (!w->gone)
        count_time(w);
    scratch_read(v);
    if (v->killed_by_policy && v->wait_status == SIGKILL)
        v->wait_status = SIGSYS; /* as the policy has it, and the kernel without an audit */
    /* The first record counts: a later one is only its consequence. */
    if (sys_read(run->errors[0], &failure, sizeof failure) == sizeof failure && failure.step < STEP_COUNT)
        v->failure = failure;
    v->wall_us = clock_us() - run->start_us;
}

static void hear_relay(struct watch *w)
{
    relay_hear();
    enum cause cause = relay_exceeded();
    if (cause != BY_ITSELF)
        end_now(w, cause);
    if (relay_hung_up())
        end_soon(w, BY_ITSELF, SIGHUP);
}

/* Nothing runs any more, and what it has put out has been passed on. */
static bool over(const struct watch *w)
{
    return w->ended && (relay_done() || clock_us() >= w->leave_at);
}

void supervise(struct run *run, struct verdict *v)
{
    struct watch w = {.run = run,
                      .verdict = v,
                      .timeout_at = NEVER,
                      .idle_at = NEVER,
                      .cpu_at = NEVER,
                      .oom_at = NEVER,
                      .register_at = NEVER,
                      .pause_at = NEVER,
                      .kill_at = NEVER,
                      .leave_at = NEVER,
                      .stragglers_at = NEVER};
    struct pollfd wait[ON_PEERS + MAX_PEERS] = {[ON_INIT] = {.fd = run->init, .events = POLLIN},
                                                [ON_SIGNALS] = {.fd = run->signals, .events = POLLIN},
                                                [ON_CONTROL] = {.fd = run->control[0], .events = POLLIN},
                                                [ON_ERRORS] = {.fd = run->errors[0], .events = POLLIN},
                                                [ON_RELAY] = {.fd = relay_event(), .events = POLLIN},
                                                [ON_CALLS] = {.fd = -1, .events = POLLIN},
                                                [ON_MEMORY] = {.fd = -1, .events = POLLIN},
                                                [ON_MANAGER] = {.fd = -1, .events = POLLOUT}};
    if (!run->plan->await_begin)
        start_clocks(&w);
    peers_open(run);
    do {
        struct __kernel_timespec t;
        unsigned peers = peers_watch(wait + ON_PEERS, w.started && !w.failed);
        wait[ON_SIGNALS].fd = may_run(run) ? run->signals : -1; /* before that the jail takes no orders */
        wait[ON_CALLS].fd = w.speechless ? -1 : run->listener;
        wait[ON_MANAGER].fd = manager_waits() ? run->manager : -1;
        wait[ON_CONTROL].events = peers_owe() ? POLLIN | POLLOUT : POLLIN;
        if (w.silent)
            wait[ON_CONTROL].fd = -1;
        if (w.started)
            wait[ON_ERRORS].fd = -1;
        SYS(__NR_ppoll, wait, ON_PEERS + peers, next_alarm(&w, &t), 0, 8);
        if (wait[ON_ERRORS].revents && !w.started) { /* its end is closed by the execve: now we are in nobody's way */
            w.started = true;
            w.failed = wait[ON_ERRORS].revents & POLLIN;
            w.register_at = w.failed ? NEVER : run->start_us + REGISTER_AFTER_US;
            cputime_begin(run);
            if (!w.failed && v->cause == BY_ITSELF && !v->asked_to_end)
                manager_ready(run);
            if (!may_run(run)) /* it failed: nothing may run that is not heard */
                kill_all(&w);
            wait[ON_MEMORY].fd = watch_memory(&w);
        }
        if (wait[ON_CONTROL].revents) /* after that: what it says may be the end */
            hear_init(&w);
        if (wait[ON_INIT].revents || (w.gone && !w.ended)) {
            w.ended = true;
            if (run->forced)
                w.kill_at = NEVER;
            wait[ON_INIT].fd = -1;
            if (run->plan->pty_line)
                pty_leave();
            if (w.stopping && !over(&w)) /* it has ended instead, and only we are left to stop */
                stop_ourselves(&w);
        }
        if (wait[ON_SIGNALS].revents)
            take_signals(&w);
        peers_serve(&w, run, wait + ON_PEERS, peers);
        if (wait[ON_RELAY].revents)
            hear_relay(&w);
        if (wait[ON_CALLS].revents)
            hear_call(&w, wait[ON_CALLS].revents);
        if (wait[ON_MEMORY].revents)
            hear_memory(&w);
        if (wait[ON_MANAGER].revents)
            manager_tell(run);
        check_clock(&w);
    } while (!over(&w));
    blame(&w, relay_exceeded()); /* the last of the output may have been passed on since we last looked */
    collect(&w);
    pause_end();
}
