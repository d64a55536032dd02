/* Signals: the supervisor takes them from a signalfd, the payload starts as if it had a fresh login's. */
#include "run.h"
#include <asm/signal.h>
#include <linux/signalfd.h>

#define SIGNALS 64
#define BIT(n) (1ULL << ((n)-1))

/* The kernel's own struct for rt_sigaction; without SA_RESTORER no handler of ours could return, and we have none. */
struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static const uint64_t handled = BIT(SIGTERM) | BIT(SIGINT) | BIT(SIGHUP) | BIT(SIGQUIT) | BIT(SIGUSR1) | BIT(SIGUSR2) |
                                BIT(SIGWINCH) | BIT(SIGCONT) | BIT(SIGTSTP);

/* Those of the handled that the caller ignores: not ours to handle (nohup). */
static uint64_t ignored(void)
{
    uint64_t set = 0;
    for (int n = 1; n <= SIGNALS; n++) {
        struct kernel_sigaction old = {0};
        if (handled & BIT(n) && SYS(__NR_rt_sigaction, n, 0, &old, 8) == 0 && old.handler == SIG_IGN)
            set |= BIT(n);
    }
    return set;
}

static const int harmless[] = {SIGPIPE, SIGXFSZ, SIGTTOU}; /* to the supervisor */

int signals_take(void)
{
    struct kernel_sigaction standard = {0};
    uint64_t mask = handled & ~ignored();
    /* A caller that ignores SIGCHLD would have the kernel reap our children, and we would learn nothing. */
    SYS(__NR_rt_sigaction, SIGCHLD, &standard, 0, 8);
    /* The outcome's reader may be gone, its file at a limit, the terminal another's: that must not end a run that
     * still has its cgroup to remove. */
    struct kernel_sigaction ignore = {.handler = (void *)SIG_IGN};
    for (unsigned i = 0; i < COUNT(harmless); i++)
        SYS(__NR_rt_sigaction, harmless[i], &ignore, 0, 8);
    long done = SYS(__NR_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
    return done < 0 ? (int)done : (int)SYS(__NR_signalfd4, -1, &mask, 8, SFD_CLOEXEC | SFD_NONBLOCK);
}

void signals_serve(void)
{
    struct kernel_sigaction ignore = {.handler = (void *)SIG_IGN};
    uint64_t all = ~0ULL;
    SYS(__NR_rt_sigaction, SIGCHLD, &ignore, 0, 8);
    SYS(__NR_rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
}

/* execve resets handlers, but what is ignored stays ignored: the caller's, and ours. To ask first would take as long. */
void signals_reset(void)
{
    struct kernel_sigaction standard = {0};
    for (int n = 1; n <= SIGNALS; n++)
        SYS(__NR_rt_sigaction, n, &standard, 0, 8);
}

void signals_unblock(void)
{
    uint64_t none = 0;
    SYS(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
}

static void (*before_death)(void);

static void die(int signal)
{
    before_death();
    SYS(__NR_kill, SYS_0(__NR_getpid), signal);
}

static const uint64_t not_deadly = BIT(SIGKILL) | BIT(SIGSTOP) | BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) |
                                   BIT(SIGWINCH) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU);

/* The handler never comes to its end: what it raises again is at its default by then, and not blocked. */
void signals_before_death(void (*act)(void))
{
    struct kernel_sigaction old, handler = {
        .handler = (void *)die, .flags = SA_RESETHAND | SA_NODEFER | SA_RESTORER, .restorer = (void *)die};
    before_death = act;
    for (int n = 1; n <= SIGNALS; n++)
        if (!(not_deadly & BIT(n)) && SYS(__NR_rt_sigaction, n, 0, &old, 8) == 0 && old.handler == (void *)SIG_DFL)
            SYS(__NR_rt_sigaction, n, &handler, 0, 8);
}
