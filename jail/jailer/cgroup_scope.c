/* Where the caller's own cgroup cannot be divided, a service manager may have us moved to one that can: the plan says
 * by which command. Policy-free: the words are the plan's, only who is to be moved is filled in. */
#include "cgroup.h"
#include "text.h"
#include <asm/signal.h>
#include <linux/time_types.h>

#define MOST_WAITED_MS 10000

/* A word with %p as our pid and %n as the run's name. */
static bool fill_in(struct line *out, const char *word, const char *name)
{
    for (const char *s = word; *s; s++)
        if (s[0] == '%' && s[1] == 'p') {
            line_number(out, (uint64_t)SYS_0(__NR_getpid), 10);
            s++;
        } else if (s[0] == '%' && s[1] == 'n') {
            line_text(out, name);
            s++;
        } else {
            line_char(out, *s);
        }
    return !out->full;
}

__attribute__((noreturn)) static void become(const char *const *words)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", NULL};
    uint64_t none = 0;
    int null = sys_open(AT_FDCWD, "/dev/null", O_RDWR, 0);
    SYS(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
    if (null >= 0) { /* its complaints go to our stderr; nothing else of the caller's is its business */
        SYS(__NR_dup3, null, 0, 0);
        SYS(__NR_dup3, null, 1, 0);
        descriptors_close_but(NULL, 0, 3);
        SYS(__NR_execve, words[0], words, environment);
    }
    sys_exit(127);
}

/* The command's own end, then ours in being moved: what it asked for is done when we see it. */
static long run_command(const char *const *words)
{
    int status = 0;
    long pid = SYS(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        become(words);
    if (pid < 0)
        return pid;
    do
        pid = SYS(__NR_wait4, pid, &status, 0, 0);
    while (pid == -EINTR);
    return status == 0 ? 0 : status == 127 << 8 ? -ENOENT : -ECONNREFUSED;
}

static long wait_for_move(char membership[CGROUP_TEXT])
{
    char before[CGROUP_TEXT];
    memcpy(before, membership, CGROUP_TEXT);
    for (int64_t end = clock_us() + MOST_WAITED_MS * 1000LL; clock_us() < end;) {
        struct __kernel_timespec pause = {0, 500000};
        long n = cgroup_membership(membership);
        if (n < 0 || !text_equal(before, membership))
            return n < 0 ? n : 0;
        SYS(__NR_ppoll, 0, 0, &pause, 0, 8);
    }
    return -ETIMEDOUT;
}

bool cgroup_scope(const struct plan *plan, const char *name, char membership[CGROUP_TEXT], struct failure *f)
{
    const char *words[MAX_SCOPE + 1];
    LINE(text, 4096);
    for (unsigned i = 0; i < plan->scope_count; i++) {
        words[i] = text.data + text.used;
        TRY(f, STEP_SCOPE, plan->scope_line, fill_in(&text, plan->scope[i], name) ? 0 : -ENAMETOOLONG);
        line_char(&text, 0);
    }
    words[plan->scope_count] = NULL;
    TRY(f, STEP_SCOPE, plan->scope_line, run_command(words));
    TRY(f, STEP_SCOPE, plan->scope_line, wait_for_move(membership));
    return true;
}
