/* The payload's own last steps: nothing here needs privilege, everything only takes away; the filter comes last,
 * since it cuts off what the others are made of. Behind it there is a read(2) and the execve. */
#include "audit.h"
#include "run.h"
#include "text.h"
#include <asm/signal.h>
#include <linux/sched.h>

static bool keep_passed(struct run *run, int ready, struct failure *f)
{
    int keep[MAX_FDS + 4];
    unsigned count = descriptors_sorted(run->plan, keep);
    for (unsigned i = 0; i < count; i++)
        TRY(f, STEP_DESCRIPTORS, 0, SYS(__NR_fcntl, keep[i], F_SETFD, 0));
    count = descriptors_insert(keep, count, ready);
    count = descriptors_insert(keep, count, run->errors[1]);
    if (run->plan->audit)
        count = descriptors_insert(keep, count, run->control[1]);
    if (run->handover[1] >= 0)
        count = descriptors_insert(keep, count, run->handover[1]);
    TRY(f, STEP_DESCRIPTORS, 0, descriptors_close_but(keep, count, 3));
    return true;
}

/* Until init is the fresh program, not dumpable, there is something in /proc/1 worth attacking. */
static bool hear_ready(int ready, struct failure *f)
{
    char c;
    long n = step_fault(STEP_READY) ? -EIO : sys_read(ready, &c, 1);
    if (n == 0)
        sys_exit(125); /* init could not start, and has said so */
    TRY(f, STEP_READY, 0, n);
    return true;
}

static const char *path_variable(char **environment)
{
    static const char name[] = "PATH=";
    for (; *environment; environment++)
        if (text_starts(*environment, name))
            return *environment + sizeof name - 1;
    return "/usr/local/bin:/usr/bin:/bin";
}

/* execvp(3) without its fallback to a shell: what the kernel cannot execute is an error. */
long payload_execute(struct run *run)
{
    static char path[4096];
    long error = -ENOENT;
    if (!*run->command)
        return -ENOENT;
    if (text_last(run->command, '/'))
        return SYS(__NR_execve, run->command, run->argv, run->environment);
    for (const char *at = path_variable(run->environment), *end; at; at = *end ? end + 1 : NULL) {
        struct line l = {path, sizeof path, 0, false};
        for (end = at; *end && *end != ':'; end++)
            ;
        line_bytes(&l, at, (size_t)(end - at));
        line_char(&l, '/');
        line_text(&l, run->command);
        if (end == at || *at != '/' || l.full)
            continue; /* a relative entry would search the working folder, which the payload's input may fill */
        long done = SYS(__NR_execve, path, run->argv, run->environment);
        if (done != -ENOENT && done != -ENOTDIR && done != -EACCES)
            return done;
        if (done == -EACCES)
            error = done;
    }
    return error;
}

static bool settle(struct run *run, struct failure *f)
{
    SYS(__NR_umask, run->plan->umask);
    signals_unblock();
    manager_payload_pid(run);
    TRY(f, STEP_CWD, 0, SYS(__NR_chdir, run->plan->cwd ? run->plan->cwd : "/"));
    return true;
}

static struct {
    struct run *run;
    int ready;
} start;

static char stack[64 << 10] __attribute__((aligned(16)));

static void payload(void *unused)
{
    struct failure f = {0};
    struct run *run = start.run;
    const struct plan *plan = run->plan;
    struct landlock landlock;
    int errors = run->errors[1];
    bool filtered = false;
    (void)unused;
    if (!cgroups_enter(run, &run->gates, &f) || !keep_passed(run, start.ready, &f) || !pty_control(run, &f) ||
        !settle(run, &f) || !confine_landlock_prepare(plan, &landlock, &f) ||
        !standby_wait(run, &landlock, &filtered, &f))
        give_up(errors, &f, 125);
    /* The waits stand behind the filter, which loads meanwhile: a filter that forbids read(2) forbids this run. */
    if (!confine_landlock(plan, &landlock, &f) || !audit_begin(run, &f) || !confine_limits(plan, filtered ? LIMITS_LATE : LIMITS_ALL, &f) ||
        (!filtered && !confine_seccomp(plan, &f)) || !hear_ready(start.ready, &f) || !standby_begin(run, &f))
        give_up(errors, &f, 125);
    long done = step_fault(STEP_EXEC) ? -EIO : payload_execute(run);
    failed(&f, STEP_EXEC, 0, -done);
    give_up(errors, &f, done == -ENOENT || done == -ENOTDIR ? 127 : 126);
}

long payload_start(struct run *run, int ready)
{
    start.run = run;
    start.ready = ready;
    /* Memory is shared instead of copied: this process changes none of it and is about to become init. */
    long pid = spawn(CLONE_VM | SIGCHLD, stack + sizeof stack, NULL, payload, NULL);
    /* As the payload does itself: whoever of the two comes first, an order to its group finds the group. */
    if (pid > 0 && !run->plan->pty_line)
        SYS(__NR_setpgid, pid, pid);
    return pid;
}
