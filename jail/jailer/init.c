/* PID 1 of the jail: reaps, passes signals on, tells how the payload ended, and takes everything down with it. */
#include "exec.h"
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <linux/capability.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/signalfd.h>
#include <linux/time_types.h>
#include <linux/wait.h>

static int payload_pid;
static bool stopping; /* told to, and not yet seen to have */
static struct parcel go; /* kind PARCEL_GO when we have heard it */
static bool helper_ended, running;

static void harden(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2] = {0};
    /* /proc/1 is closed to the payload, which has the same uid. */
    if (sys_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 ||
        sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 || SYS(__NR_capset, &header, none) != 0)
        sys_exit(125);
    sys_prctl(PR_SET_NAME, (unsigned long)INIT_NAME, 0, 0, 0);
}

static int64_t microseconds(const struct __kernel_old_timeval *t)
{
    return (int64_t)t->tv_sec * 1000000 + t->tv_usec;
}

/* Reap one; if it was a further command, its end is told. */
static long wait_for_one(int *status, int flags)
{
    struct rusage usage = {0};
    long pid = SYS(__NR_wait4, -1, status, flags | __WALL, &usage);
    if (pid > 0 && exec_ended((int)pid, *status, microseconds(&usage.ru_utime), microseconds(&usage.ru_stime)))
        *status = 0;
    return pid;
}

static void add_usage(struct parcel *p, int whose)
{
    struct rusage usage = {0};
    SYS(__NR_getrusage, whose, &usage);
    p->user_us += microseconds(&usage.ru_utime);
    p->system_us += microseconds(&usage.ru_stime);
}

__attribute__((noreturn)) static void finish(int wait_status)
{
    struct parcel farewell = {.kind = PARCEL_FAREWELL, .wait_status = wait_status};
    sys_write(INIT_CONTROL, &farewell, sizeof farewell);
    /* Reap everyone, so that the kernel adds what they used to our own account. Whoever has no child has nobody to kill:
     * all of the jail are our descendants. The kernel would look at every process of the machine for that. */
    if (wait_for_one(&wait_status, WNOHANG) != -ECHILD)
        SYS(__NR_kill, -1, SIGKILL);
    while (wait_for_one(&wait_status, 0) > 0)
        ;
    farewell.kind = PARCEL_GONE;
    add_usage(&farewell, RUSAGE_CHILDREN);
    add_usage(&farewell, RUSAGE_SELF);
    sys_write(INIT_CONTROL, &farewell, sizeof farewell);
    sys_exit(0);
}

static void reap(void)
{
    int status;
    for (;;) {
        long pid = wait_for_one(&status, WNOHANG);
        if (pid == payload_pid)
            finish(status);
        if (pid <= 0)
            return;
        if (!running && status != 0)
            sys_exit(125); /* the audit's helper, before it could hand over anything: the supervisor would wait forever */
        helper_ended = true;
    }
}

static void hear_go(void)
{
    if (sys_read(INIT_CONTROL, &go, sizeof go) != sizeof go)
        sys_exit(125); /* the supervisor is gone, or has no time to wait for us */
}

/* The payload waits for us, and we for the supervisor, and for the end of the helper that handed over the listener of an
 * audit: the payload is to find no process but ours. */
static void let_payload_run(void)
{
    if (running || go.kind != PARCEL_GO || (go.helper && !helper_ended))
        return;
    if (sys_write(INIT_READY, "", 1) != 1)
        sys_exit(125);
    sys_close(INIT_READY);
    running = true;
}

/* Told to stop is not stopped: until it is, the payload might still take from the terminal what is meant for the
 * shell. One that is not seen to stop for long sleeps in the kernel, in a vfork that waits for a stopped child, and takes
 * nothing before it has stopped either. */
static void tell_if_stopped(bool for_long)
{
    siginfo_t info = {0};
    struct parcel stopped = {.kind = PARCEL_STOPPED};
    SYS(__NR_waitid, P_PID, payload_pid, &info, WSTOPPED | WNOHANG | WNOWAIT, 0);
    if (info.si_pid != payload_pid && !for_long)
        return;
    stopping = false;
    sys_write(INIT_CONTROL, &stopped, sizeof stopped);
}

static void gather(const int *fds, unsigned count)
{
    struct parcel p = {.kind = PARCEL_GATHERED, .outside = cgroup_gather(fds, count)};
    for (unsigned i = 0; i < count; i++)
        sys_close(fds[i]);
    (void)sys_write(INIT_CONTROL, &p, sizeof p);
}

static void obey(void)
{
    struct order order;
    int fds[CHANNEL_FDS];
    unsigned count;
    if (channel_receive(INIT_CONTROL, &order, sizeof order, fds, &count) != sizeof order)
        sys_exit(125); /* the supervisor is gone: so are we, and with us all of the jail */
    if (order.whom == NEW_COMMAND)
        return exec_command(&order, fds, count);
    if (order.whom == A_COMMAND)
        return exec_signal(&order);
    if (order.whom == THE_UNFROZEN)
        return gather(fds, count);
    int whom = order.whom == EVERYONE ? -1 : order.whom == ITS_GROUP ? -payload_pid : payload_pid;
    SYS(__NR_kill, whom, order.signal);
    if (order.signal == SIGSTOP || order.signal == SIGCONT)
        stopping = order.signal == SIGSTOP;
}

void init_main(int pid)
{
    const struct __kernel_timespec long_enough = {0, 200000000};
    uint64_t mask = 1ULL << (SIGCHLD - 1);
    payload_pid = pid;
    harden();
    SYS(__NR_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
    int children = (int)SYS(__NR_signalfd4, -1, &mask, 8, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0)
        sys_exit(125);
    reap(); /* of whose end nobody was told yet */
    for (;;) {
        struct pollfd wait[] = {{.fd = INIT_CONTROL, .events = POLLIN}, {.fd = children, .events = POLLIN}};
        struct signalfd_siginfo info;
        long ready = SYS(__NR_ppoll, wait, 2, stopping ? &long_enough : NULL, 0, 8);
        if (ready == -EINVAL)
            sys_exit(125); /* the payload has lowered our limit on descriptors: without us its jail ends */
        if (ready < 0)
            continue;
        if (wait[1].revents) {
            sys_read(children, &info, sizeof info);
            reap();
        }
        if (wait[0].revents && go.kind == PARCEL_GO)
            obey();
        else if (wait[0].revents)
            hear_go();
        let_payload_run();
        if (stopping) /* its stop wakes us as its end would */
            tell_if_stopped(ready == 0);
    }
}
