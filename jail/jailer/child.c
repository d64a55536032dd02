/* The jail's side, from the clone to init and payload. The order of `sequence` is the security argument. */
#include "run.h"
#include "text.h"
#include <asm/signal.h>
#include <linux/keyctl.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/time_types.h>

void give_up(int errors, const struct failure *f, int status)
{
    /* If nobody listens any more, the supervisor is gone and everything here ends with it. */
    (void)sys_write(errors, f, sizeof *f);
    sys_exit(status);
}

/* The supervisor says go twice here: when the ids are mapped, and when the cgroups are made. What comes between is for
 * those who build the root (sources.c), if they needed it. */
static bool hear(struct run *run, int *fds, unsigned *count, struct failure *f)
{
    struct parcel p;
    do {
        long n = step_fault(STEP_GO) ? -EIO : channel_receive(run->control[1], &p, sizeof p, fds, count);
        if (n == 0 || n == -ECONNRESET)
            sys_exit(125); /* the supervisor died or gave up: it says why, if it can */
        TRY(f, STEP_GO, 0, n);
    } while (p.kind != PARCEL_GO);
    return true;
}

static bool hear_go(struct run *run, struct failure *f)
{
    int fds[CHANNEL_FDS];
    unsigned count;
    if (!hear(run, fds, &count, f))
        return false;
    run->id_lock = count > 0 ? fds[0] : -1;
    return true;
}

/* Who runs before all others (sched(7)), as its caller does, no quota of a cgroup holds. */
static long leave_realtime(void)
{
    const int normal = 0, none = 0, first = 1, round = 2, deadline = 6;
    long policy = SYS(__NR_sched_getscheduler, 0) & 0xff;
    return policy == first || policy == round || policy == deadline ? SYS(__NR_sched_setscheduler, 0, normal, &none) : 0;
}

static bool enter_cgroups(struct run *run, struct failure *f)
{
    int fds[CHANNEL_FDS];
    unsigned count, half = cgroups_gated(run->plan);
    if (!hear(run, fds, &count, f))
        return false;
    TRY(f, STEP_GO, 0, count == 2 * half ? 0 : -EBADF);
    memcpy(run->gates.in, fds, half * sizeof(int));
    memcpy(run->gates.out, fds + half, half * sizeof(int));
    const struct cgroup *cpu = plan_cgroup(run->plan, "cpu");
    if (cpu)
        TRY(f, STEP_CGROUP_JOIN, cpu->line, leave_realtime());
    return cgroups_enter(run, &run->gates, f);
}

static bool let_go_of_supervisor(struct run *run, struct failure *f)
{
    (void)f;
    int birthplace = cgroups_birthplace(run);
    if (birthplace >= 0)
        sys_close(birthplace); /* its lock is the supervisor's life sign alone */
    if (run->plan->small_fd >= 0) {
        sys_close(run->plan->small_fd);
        small_forget_home();
    }
    sys_close(run->control[0]); /* or we would never see its end */
    sys_close(run->errors[0]);
    if (run->seen)
        sys_close(run->handover[0]);
    return true;
}

static bool own_ipc(struct run *run, struct failure *f)
{
    (void)run;
    TRY(f, STEP_IPC, 0, SYS(__NR_unshare, CLONE_NEWIPC));
    return true;
}

static bool take_ids(struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    /* Id 0 of the host is not ours once these return, but the capabilities of our own namespace are: it is
     * uid 0 of this namespace, not of the host, whose change would drop them. */
    if (plan->pool)
        TRY(f, STEP_CREDENTIALS, 0, SYS(__NR_setgroups, 0, 0));
    TRY(f, STEP_CREDENTIALS, 0, SYS(__NR_setresgid, plan->gid, plan->gid, plan->gid));
    TRY(f, STEP_CREDENTIALS, 0, SYS(__NR_setresuid, plan->uid, plan->uid, plan->uid));
    return true;
}

static bool die_with_supervisor(struct run *run, struct failure *f)
{
    struct pollfd control = {.fd = run->control[1], .events = 0};
    struct __kernel_timespec now = {0, 0};
    TRY(f, STEP_CREDENTIALS, 0, sys_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    TRY(f, STEP_CREDENTIALS, 0, sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
    /* It may have died before that; its end of the channel tells (getppid is 0 in a new pid namespace). */
    SYS(__NR_ppoll, &control, 1, &now, 0, 8);
    if (control.revents & POLLHUP)
        sys_exit(125);
    return true;
}

static bool private_mounts(struct run *run, struct failure *f)
{
    (void)run;
    TRY(f, STEP_PROPAGATION, 0, SYS(__NR_mount, 0, "/", 0, 0x44000 /* MS_REC | MS_PRIVATE */, 0));
    SYS(__NR_umask, 0); /* the plan's modes are meant as written */
    return true;
}

static bool hide_cgroup(struct run *run, struct failure *f)
{
    /* The namespace of the clone has the cgroup that we were born in as its root. */
    if (run->plan->cgroup_count)
        TRY(f, STEP_CGROUP_NS, 0, SYS(__NR_unshare, CLONE_NEWCGROUP));
    return true;
}

/* The payload enters again, by itself: init is none of those that the limits are for. */
static bool leave_cgroups(struct run *run, struct failure *f)
{
    if (!cgroups_leave(run, &run->gates, f))
        return false;
    for (unsigned i = 0; i < cgroups_gated(run->plan); i++)
        sys_close(run->gates.out[i]);
    return true;
}

static bool name_host(struct run *run, struct failure *f)
{
    const char *name = run->plan->hostname;
    if (name)
        TRY(f, STEP_HOSTNAME, 0, SYS(__NR_sethostname, name, text_length(name)));
    return true;
}

static bool own_keyring(struct run *run, struct failure *f)
{
    (void)run;
    long done = SYS(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
    /* Without keyrings in the kernel (or a filter around us that forbids them) there is none to share. */
    if (done == -ENOSYS || done == -EPERM || done == -EACCES)
        done = 0;
    TRY(f, STEP_KEYRING, 0, done);
    return true;
}

/* For init and payload: none keeps what the caller has set. */
static bool standard_signals(struct run *run, struct failure *f)
{
    (void)run;
    (void)f;
    signals_reset();
    return true;
}

static bool shrink_bounding_set(struct run *run, struct failure *f)
{
    return confine_bounding_set(run->plan->capabilities, f);
}

static bool drop_privileges(struct run *run, struct failure *f)
{
    return confine_capabilities(run->plan->capabilities, f);
}

static bool no_new_privileges(struct run *run, struct failure *f)
{
    (void)run;
    TRY(f, STEP_NO_NEW_PRIVS, 0, sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    return true;
}

static bool own_session(struct run *run, struct failure *f)
{
    (void)run;
    TRY(f, STEP_SESSION, 0, SYS_0(__NR_setsid));
    return true;
}

static bool (*const sequence[])(struct run *, struct failure *) = {
    let_go_of_supervisor,
    relay_enter,         /* nothing of the jail holds the caller's own output from here on */
    network_begin,       /* first, since it takes longest and needs nothing of the rest */
    own_ipc,             /* the supervisor prepares the go meanwhile */
    hear_go,             /* the ids are mapped; if the supervisor has ended instead, so do we */
    take_ids,            /* before files are made: they belong to the jail's id; host id 0 is gone from here on */
    die_with_supervisor, /* after the ids, whose change clears the request; before any work worth interrupting */
    private_mounts,      /* before the first mount, or ours reach the host */
    shrink_bounding_set, /* takes a while; a privileged supervisor is opening the sources meanwhile */
    root_build,          /* while host paths still resolve; ends with pivot_root and the old root detached */
    scratch_send,        /* while they are what they were made as */
    pty_open,            /* the caller's own terminal, if any, is out of reach from here on */
    name_host,
    own_keyring,         /* keyrings belong to users, not to namespaces: leave the caller's */
    own_session,         /* no terminal to push input into, no process group that reaches outside */
    standard_signals,
    network_join,        /* from here on there is one thread */
    enter_cgroups,       /* those that we were not born in */
    hide_cgroup,         /* while we are there; the last thing that needs a capability */
    leave_cgroups,       /* before the fork, which would count against their limits */
    drop_privileges,     /* before the fork: init needs no capability either */
    no_new_privileges,   /* for init and payload; what an unprivileged Landlock and seccomp ask for */
};

/* Leave only what init needs, at fixed numbers, and become it: a fresh program with nothing of the caller in it. The
 * payload still uses this memory meanwhile; nothing that it reads is changed. */
static bool become_init(const struct run *run, int ready, unsigned payload_pid, int *errors, struct failure *f)
{
    LINE(pid, 16);
    line_number(&pid, payload_pid, 10);
    const char *const argv[] = {INIT_NAME, pid.data, NULL}, *const environment[] = {NULL};
    int source[] = {run->control[1], ready, run->id_lock}, copy[3], keep[5], count = 0;
    for (int i = 0; i < 3; i++) /* out of the way first: the targets may be among the sources */
        copy[i] = source[i] < 0 ? -1 : (int)SYS(__NR_fcntl, source[i], F_DUPFD_CLOEXEC, 16);
    *errors = (int)SYS(__NR_fcntl, run->errors[1], F_DUPFD_CLOEXEC, 16);
    int executable = (int)SYS(__NR_fcntl, run->executable, F_DUPFD_CLOEXEC, 16);
    TRY(f, STEP_INIT, 0, *errors);
    TRY(f, STEP_INIT, 0, executable);
    for (int i = 0; i < 3; i++)
        if (copy[i] >= 0) {
            TRY(f, STEP_INIT, 0, SYS(__NR_dup3, copy[i], INIT_CONTROL + i, 0));
            keep[count++] = INIT_CONTROL + i;
        }
    count = (int)descriptors_insert(keep, (unsigned)count, *errors);
    count = (int)descriptors_insert(keep, (unsigned)count, executable);
    TRY(f, STEP_DESCRIPTORS, 0, descriptors_close_but(keep, (unsigned)count, 0));
    TRY(f, STEP_INIT, 0, SYS(__NR_execveat, executable, "", argv, environment, AT_EMPTY_PATH));
    return true;
}

void child(struct run *run)
{
    struct failure f = {0};
    int ready[2], errors = run->errors[1];
    for (unsigned i = 0; i < COUNT(sequence); i++)
        if (!sequence[i](run, &f))
            give_up(errors, &f, 125);
    long done = step_fault(STEP_FORK) ? -EIO : SYS(__NR_pipe2, ready, O_CLOEXEC);
    long pid = done < 0 ? done : payload_start(run, ready[0]);
    if (pid < 0)
        failed(&f, STEP_FORK, 0, -pid);
    else
        become_init(run, ready[1], (unsigned)pid, &errors, &f);
    give_up(errors < 0 ? run->errors[1] : errors, &f, 125); /* the payload waits for init, and ends with this process */
}
