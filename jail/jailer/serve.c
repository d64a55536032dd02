/* The serving jailer: one for a calling process, for whose requests it forks supervisors. It is small, so that a fork
 * costs little however big the caller is, and knows nothing of what the runs do. */
#ifndef PYJAIL_FRONT
#include "request.h"
#include "standby.h"
#include <asm/signal.h>
#include <linux/poll.h>
#include <linux/time_types.h>

enum { ON_CALLER, ON_SOCKET, WATCHED };

static struct {
    int socket, caller; /* where requests come from, and the pidfd of who sends them */
    int small;          /* what jails are cloned in (small.c), or -1 */
} server;

/* The run's own process, with the plan and the command in its own copy of the text. */
__attribute__((noreturn)) static void run(struct asked *a)
{
    static struct plan plan;
    struct plan_error unsound = {0};
    struct command c;
    char *text;
    int caller = server.caller, small = server.small, *const own[] = {&caller, &small};
    long size = request_map(a, &text);
    bool good = size >= 0 && request_command(&a->head, text, &c) && request_place(a, own, COUNT(own)) >= 0;
    bool parsed = good && plan_parse(&plan, text + a->head.command, (size_t)size - a->head.command - 1, &unsound);
    bool fits = !parsed || request_fits(&a->head, &plan);
    int error = size < 0 ? (int)-size : !good || !fits ? EBADMSG : parsed && !depends_hold(&plan) ? ESTALE : 0;
    if ((!error && !request_confirmed(a, caller)) || !request_answer(a->fd[ASKED_LIFE], error))
        sys_exit(125);
    if (!parsed)
        sys_exit(complain_of_plan("plan", &unsound));
    plan.outcome_fd = a->fd[ASKED_OUTCOME];
    plan.control_fd = a->fd[ASKED_LIFE];
    plan.life_fd = caller;
    plan.small_fd = plan.pool && small >= 0 ? small : UNSET;
    sys_exit(execute(&plan, &c));
}

static void serve_run(struct asked *a)
{
    long pid = SYS(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        run(a);
    if (pid < 0)
        request_answer(a->fd[ASKED_LIFE], (int)-pid);
}

static void serve_request(struct asked *a)
{
    struct template *t = templates_find(a);
    if (a->head.kind == REQUEST_KEEP && t)
        templates_keep(t, a);
    else if (a->head.kind == REQUEST_KEEP)
        request_answer(a->fd[ASKED_LIFE], ENOMEM);
    else if (!t || !templates_hand_over(t, a))
        serve_run(a);
}

static void hear(void)
{
    struct asked a;
    long n = request_receive(server.socket, &a);
    if (n <= 0 && n != -EBADMSG && n != -EAGAIN)
        sys_exit(0);
    if (n > 0)
        serve_request(&a);
    request_close(&a);
}

static void hear_standbys(const struct pollfd *wait)
{
    struct asked a = {.count = 0};
    if (templates_hear(wait, &a))
        serve_run(&a);
    request_close(&a);
}

static void wait_for_news(struct pollfd *wait)
{
    struct __kernel_timespec t;
    int64_t next = templates_work(), left = next - clock_us();
    unsigned count = WATCHED + templates_watch(wait + WATCHED);
    left = left < 0 ? 0 : left;
    t.tv_sec = left / 1000000;
    t.tv_nsec = left % 1000000 * 1000;
    SYS(__NR_ppoll, wait, count, next == INT64_MAX ? NULL : &t, 0, 8);
}

/* Who asked for us need not wait for our end, and cannot do so by mistake: we are nobody's child but init's. */
static long detach(void)
{
    long pid = SYS(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid > 0)
        sys_exit(0);
    return pid;
}

/* Nothing of the caller's is held: not its streams, nor its folder. */
static long let_go(void)
{
    int keep[2];
    unsigned count = descriptors_insert(keep, 0, server.socket);
    count = descriptors_insert(keep, count, server.caller);
    long done = descriptors_close_but(keep, count, 3);
    int null = done < 0 ? -1 : sys_open(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
    for (int fd = 0; fd <= 2 && null >= 0 && done >= 0; fd++)
        done = SYS(__NR_dup3, null, fd, 0);
    if (null >= 0)
        sys_close(null);
    if (done >= 0)
        done = null < 0 ? null : SYS(__NR_chdir, "/");
    return done;
}

int serve(int socket, int caller)
{
    server.socket = socket;
    server.caller = caller;
    signals_serve();
    if (let_go() < 0 || detach() < 0)
        return 125;
    server.small = small_make();
    templates_begin(caller, server.small);
    for (;;) {
        struct pollfd wait[WATCHED + MOST_STANDBYS] = {[ON_CALLER] = {.fd = caller, .events = POLLIN},
                                                       [ON_SOCKET] = {.fd = socket, .events = POLLIN}};
        wait_for_news(wait);
        if (wait[ON_CALLER].revents)
            return 0;
        hear_standbys(wait + WATCHED);
        if (wait[ON_SOCKET].revents)
            hear();
    }
}
#endif
