/* Further commands, in init and in what it forks for them. That is, as init, not dumpable, without any capability, and
 * soon has no descriptor but the command's own; it is one of the processes of the payload's own id all the same, and
 * may be stopped or killed at any point, or have its limits lowered: then the command does not run, and nobody waits. */
#include "exec.h"
#include "text.h"
#include <asm/signal.h>

static struct {
    int pid; /* 0: free */
    uint32_t id;
} commands[MAX_COMMANDS];

static void tell_entered(uint32_t id)
{
    struct parcel p = {.kind = PARCEL_COMMAND_ENTERED, .command = id};
    (void)sys_write(INIT_CONTROL, &p, sizeof p);
}

static void tell_failure(uint32_t id, const struct failure *f)
{
    struct parcel p = {.kind = PARCEL_COMMAND_FAILED, .command = id, .failure = *f};
    (void)sys_write(INIT_CONTROL, &p, sizeof p);
}

static void tell_end(uint32_t id, int wait_status, int64_t user_us, int64_t system_us)
{
    struct parcel p = {.kind = PARCEL_COMMAND_ENDED, .command = id, .wait_status = wait_status, .user_us = user_us, .system_us = system_us};
    (void)sys_write(INIT_CONTROL, &p, sizeof p);
}

static const char *next_text(const char **at, const char *end)
{
    const char *text = *at;
    while (*at < end && **at)
        ++*at;
    if (*at == end)
        return NULL;
    ++*at;
    return text;
}

static char **texts(const char **at, const char *end, unsigned count)
{
    long memory = SYS(__NR_mmap, 0, (count + 1) * sizeof(char *), 3, 0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */, -1, 0);
    char **list = (char **)memory;
    if (memory < 0 && memory > -4096)
        return NULL;
    for (unsigned i = 0; i < count; i++)
        if (!(list[i] = (char *)next_text(at, end)))
            return NULL;
    return list;
}

static struct plan plan;

/* What the supervisor has written: the parts of the plan that a payload is confined by, and the command. */
static long read_brief(struct run *run, int fd)
{
    struct stat st;
    long done = sys_fstat(fd, &st);
    if (done < 0)
        return done;
    long memory = SYS(__NR_mmap, 0, st.st_size, 3, 2 /* MAP_PRIVATE */, fd, 0);
    if (memory < 0 && memory > -4096)
        return memory;
    const struct brief *b = (const struct brief *)memory;
    const char *end = (const char *)memory + st.st_size, *at = (const char *)(b + 1);
    if ((size_t)st.st_size < sizeof *b || b->limit_count > MAX_LIMITS || b->rule_count > MAX_RULES ||
        b->program_count > MAX_PROGRAM)
        return -EINVAL;
    plan.program = (struct sock_filter *)(uintptr_t)at;
    plan.program_count = b->program_count;
    at += b->program_count * sizeof *plan.program;
    if (at > end || !(plan.cwd = next_text(&at, end)))
        return -EINVAL;
    plan.umask = (int)b->umask;
    plan.landlock_required = b->landlock_required;
    for (plan.limit_count = 0; plan.limit_count < b->limit_count; plan.limit_count++)
        plan.limits[plan.limit_count] = (struct limit){.name = "",
                                                       .resource = b->limits[plan.limit_count].resource,
                                                       .line = b->limits[plan.limit_count].line,
                                                       .exact = b->limits[plan.limit_count].exact,
                                                       .soft = b->limits[plan.limit_count].soft,
                                                       .hard = b->limits[plan.limit_count].hard};
    for (plan.rule_count = 0; plan.rule_count < b->rule_count; plan.rule_count++) {
        const char *rule = next_text(&at, end);
        if (!rule)
            return -EINVAL;
        plan.rules[plan.rule_count] =
            (struct rule){.path = rule + 1, .line = b->rule_lines[plan.rule_count], .writable = *rule == 'w'};
    }
    run->argv = texts(&at, end, b->argc);
    run->environment = texts(&at, end, b->envc);
    step_fault_take(b->fault);
    if (!run->argv || !run->environment)
        return -ENOMEM;
    run->command = run->argv[0];
    return 0;
}

/* The same as for a payload, before anything is looked up inside: what a path of the jail may lead to by way of
 * /proc/self/fd must be the command's own. */
static bool take_descriptors(const int *fds, struct failure *f)
{
    static const int control[] = {INIT_CONTROL};
    int copy[3];
    for (int i = 0; i < 3; i++)
        TRY(f, STEP_STDIO, 0, copy[i] = (int)SYS(__NR_fcntl, fds[i], F_DUPFD_CLOEXEC, INIT_CONTROL + 1));
    for (int i = 0; i < 3; i++)
        TRY(f, STEP_STDIO, 0, SYS(__NR_dup3, copy[i], i, 0));
    TRY(f, STEP_DESCRIPTORS, 0, SYS(__NR_fcntl, INIT_CONTROL, F_SETFD, FD_CLOEXEC));
    TRY(f, STEP_DESCRIPTORS, 0, descriptors_close_but(control, 1, 3));
    return descriptors_stdio(f);
}

static bool enter(struct run *run, const int *fds, unsigned gates, struct failure *f)
{
    struct gates g;
    TRY(f, STEP_COMMAND, 0, read_brief(run, fds[EXEC_BRIEF]));
    memcpy(g.in, fds + EXEC_GATES, gates * sizeof(int));
    for (plan.cgroup_count = 0; plan.cgroup_count < gates; plan.cgroup_count++)
        plan.cgroups[plan.cgroup_count] = (struct cgroup){.version = 1};
    return cgroups_enter(run, &g, f) && take_descriptors(fds, f);
}

/* In the order of payload.c, and for its reasons; init has done before what comes before that. */
__attribute__((noreturn)) static void become(const struct order *order, const int *fds, unsigned gates)
{
    struct run run = {.plan = &plan};
    struct failure f = {0};
    struct landlock landlock;
    long done = 0;
    if (enter(&run, fds, gates, &f)) {
        tell_entered(order->command);
        SYS(__NR_setpgid, 0, 0);
        SYS(__NR_umask, plan.umask);
        signals_unblock();
        done = step_fault(STEP_CWD) ? -EIO : SYS(__NR_chdir, plan.cwd);
        if (done < 0)
            failed(&f, STEP_CWD, 0, -done);
        else if (confine_landlock_prepare(&plan, &landlock, &f) && confine_landlock(&plan, &landlock, &f) &&
                 confine_limits(&plan, LIMITS_ALL, &f) && confine_seccomp(&plan, &f)) {
            done = step_fault(STEP_EXEC) ? -EIO : payload_execute(&run);
            failed(&f, STEP_EXEC, 0, -done);
        }
    }
    tell_failure(order->command, &f);
    sys_exit(f.step != STEP_EXEC ? 125 : done == -ENOENT || done == -ENOTDIR ? 127 : 126);
}

static long fork_for(const struct order *order, const int *fds, unsigned count)
{
    unsigned free = 0;
    while (free < MAX_COMMANDS && commands[free].pid)
        free++;
    if (free == MAX_COMMANDS)
        return -EUSERS;
    /* The payload may lower init's limit on descriptors, and then not all of them come. */
    if (count < EXEC_GATES || count > EXEC_GATES + MAX_CGROUPS)
        return -EMFILE;
    long pid = SYS(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        become(order, fds, count - EXEC_GATES);
    if (pid < 0)
        return pid;
    SYS(__NR_setpgid, pid, pid); /* as it does itself: whoever comes first */
    commands[free].pid = (int)pid;
    commands[free].id = order->command;
    return 0;
}

void exec_command(const struct order *order, const int *fds, unsigned count)
{
    long done = fork_for(order, fds, count);
    for (unsigned i = 0; i < count; i++)
        sys_close(fds[i]);
    if (done >= 0)
        return;
    struct failure f = {.step = STEP_FORK, .error = (int32_t)-done};
    tell_failure(order->command, &f);
    tell_end(order->command, 125 << 8, 0, 0);
}

bool exec_ended(int pid, int wait_status, int64_t user_us, int64_t system_us)
{
    for (unsigned i = 0; i < MAX_COMMANDS; i++)
        if (commands[i].pid == pid) {
            commands[i].pid = 0;
            tell_end(commands[i].id, wait_status, user_us, system_us);
            return true;
        }
    return false;
}

/* Its id stands for it as long as we have not reaped it. KILL is for its whole group, and for itself, which may have
 * left that. */
void exec_signal(const struct order *order)
{
    for (unsigned i = 0; i < MAX_COMMANDS; i++) {
        if (!commands[i].pid || commands[i].id != order->command)
            continue;
        SYS(__NR_kill, commands[i].pid, order->signal);
        if (order->signal == SIGKILL)
            SYS(__NR_kill, -commands[i].pid, SIGKILL);
    }
}
