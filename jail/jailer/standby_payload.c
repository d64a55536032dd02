/* The payload of a standby: it takes its command, and waits for the word to begin. */
#ifndef PYJAIL_FRONT
#include "bpf.h"
#include "request.h"
#include "standby.h"
#include "text.h"
#include <linux/resource.h>

/* Whether the path leads through what is at `above`. */
static bool leads_through(const char *path, const char *above)
{
    while (*above) {
        if (*above == '/') {
            while (*above == '/')
                above++;
            if (*above && *path != '/')
                return false;
            while (*path == '/')
                path++;
        } else if (*above++ != *path++) {
            return false;
        }
    }
    return *path == '/' || path[-1] == '/';
}

bool leads_to_host(const struct plan *plan, const char *path, const struct node *but)
{
    for (const struct node *n = plan->nodes; n < plan->nodes + plan->node_count; n++)
        if (n != but && (n->kind == NODE_BIND || n->kind == NODE_SYMLINK) && leads_through(path, n->target))
            return true;
    return false;
}

/* What was handed over takes the place of the stand-ins. */
static bool take_command(struct run *run, struct asked *a, struct failure *f)
{
    const struct plan *plan = run->plan;
    struct command c;
    char *text;
    TRY(f, STEP_HANDOVER, 0, request_map(a, &text));
    TRY(f, STEP_HANDOVER, 0, request_command(&a->head, text, &c) ? 0 : -EBADMSG);
    for (int fd = 0; fd <= 2; fd++)
        TRY(f, STEP_HANDOVER, 0, SYS(__NR_dup3, a->fd[1 + fd], fd, 0));
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        TRY(f, STEP_HANDOVER, 0, SYS(__NR_dup3, a->fd[4 + i], plan->pass_fds[i], 0));
    request_close(a);
    return command_prepare(run, &c, f);
}

/* In a folder of the host's the folder to start in may have been moved, or removed, since we went there. */
static bool starts_at_host(const struct plan *plan)
{
    return plan->cwd && leads_to_host(plan, plan->cwd, NULL);
}

static bool start_anew(const struct plan *plan, struct failure *f)
{
    if (starts_at_host(plan))
        TRY(f, STEP_CWD, 0, SYS(__NR_chdir, plan->cwd));
    return true;
}

#define NONE 6 /* no argument */

/* Whatever the call's other arguments are: the number of a descriptor is one of them. */
static bool lets(const struct plan *plan, int number, unsigned at, uint64_t argument)
{
    struct seccomp_data call = {.nr = number, .arch = NATIVE_ARCH};
    for (unsigned ones = 0; ones <= 1; ones++) {
        for (unsigned i = 0; i < COUNT(call.args); i++)
            call.args[i] = i == at ? argument : ones ? UINT64_MAX : 0;
        uint32_t action = bpf_run(plan->program, &call) & SECCOMP_RET_ACTION_FULL;
        if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
            return false;
    }
    return true;
}

/* Whether the filter lets the payload do what is left to do when it has its command, so that it can be loaded before:
 * to load it takes longest of all. It is still the last of what confines, as nobody else's code runs in between. */
static bool may_filter_ahead(const struct plan *plan, const struct landlock *l)
{
    static const struct {
        int number;
        unsigned at; /* of the argument that is known, and that policies may ask about */
        uint64_t argument;
    } calls[] = {{__NR_write, NONE, 0},
                 {__NR_recvmsg, NONE, 0},
                 {__NR_close, NONE, 0},
                 {__NR_fstat, NONE, 0},
                 {__NR_mmap, 2, 3},
                 {__NR_dup3, 2, 0},
                 {__NR_fcntl, 1, F_GETFL},
                 {__NR_prlimit64, 1, RLIMIT_NOFILE},
                 {__NR_prlimit64, 1, RLIMIT_AS},
                 {__NR_prlimit64, 1, RLIMIT_DATA},
                 {__NR_landlock_add_rule, 1, 1},
                 {__NR_landlock_restrict_self, 1, 0},
                 {__NR_read, NONE, 0},
                 {__NR_exit_group, 0, 125}};
    if ((l->ruleset >= 0 && l->abi < LANDLOCK_TRUNCATE) || !bpf_known(plan->program, plan->program_count))
        return false;
    if (starts_at_host(plan) && !lets(plan, __NR_chdir, NONE, 0))
        return false;
    for (unsigned i = 0; i < COUNT(calls); i++)
        if (!lets(plan, calls[i].number, calls[i].at, calls[i].argument))
            return false;
    return true;
}

bool standby_wait(struct run *run, const struct landlock *l, bool *filtered, struct failure *f)
{
    struct parcel ready = {.kind = PARCEL_GO};
    struct asked a;
    if (run->handover[1] < 0)
        return true;
    *filtered = may_filter_ahead(run->plan, l);
    if (*filtered && (!confine_limits(run->plan, LIMITS_AHEAD, f) || !confine_seccomp(run->plan, f)))
        return false;
    TRY(f, STEP_HANDOVER, 0, sys_write(run->handover[1], &ready, sizeof ready));
    long n = channel_receive(run->handover[1], &a.head, sizeof a.head, a.fd, &a.count);
    if (n == 0 || n == -ECONNRESET)
        sys_exit(125); /* nobody has asked */
    TRY(f, STEP_HANDOVER, 0, n < 0 ? n : a.count == 4 + run->plan->pass_fd_count ? 0 : -EBADMSG);
    return take_command(run, &a, f) && start_anew(run->plan, f);
}

bool standby_begin(const struct run *run, struct failure *f)
{
    char word;
    if (run->handover[1] < 0)
        return true;
    long n = sys_read(run->handover[1], &word, 1);
    if (n == 0 || n == -ECONNRESET)
        sys_exit(125); /* it was not to begin */
    TRY(f, STEP_HANDOVER, 0, n);
    return true;
}
#else
#include "run.h"
bool standby_wait(struct run *run, const struct landlock *l, bool *filtered, struct failure *f)
{
    (void)run;
    (void)l;
    (void)filtered;
    (void)f;
    return true;
}

bool standby_begin(const struct run *run, struct failure *f)
{
    (void)run;
    (void)f;
    return true;
}
#endif
