/* What a service manager such as systemd hands over and is told: sd_listen_fds(3) and sd_notify(3). */
#include "run.h"
#include "report.h"
#include "text.h"
#include <linux/poll.h>
#include <linux/time_types.h>
#include <linux/un.h>

#define FIRST_SOCKET 3 /* SD_LISTEN_FDS_START */
#define SOCKET_UNIX 1
#define SOCKET_DATAGRAM 2
#define NO_SIGNAL 0x4000   /* MSG_NOSIGNAL */
#define DONT_WAIT 0x40     /* MSG_DONTWAIT */
#define PATIENCE_SECONDS 5 /* at the end */

/* "NAME=VALUE" in the environment, or NULL; `prefix` ends in the equals sign. */
static const char *variable(char **envp, const char *prefix)
{
    for (; *envp; envp++)
        if (text_starts(*envp, prefix))
            return *envp;
    return NULL;
}

static const char *value(char **envp, const char *prefix)
{
    const char *found = variable(envp, prefix);
    return found ? found + text_length(prefix) : NULL;
}

static bool is_passed(const struct plan *plan, int fd)
{
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        if (plan->pass_fds[i] == fd)
            return true;
    return false;
}

/* Sockets that are meant for another process than this one are not ours to hand on. */
bool manager_sockets(struct run *run, char **envp, struct failure *f)
{
    struct plan *plan = run->plan;
    const char *pid = value(envp, "LISTEN_PID="), *number = value(envp, "LISTEN_FDS=");
    uint64_t meant = 0, count = 0;
    if (!plan->listen_line)
        return true;
    bool ours = pid && number && text_number(pid, 10, INT32_MAX, &meant) && (long)meant == SYS_0(__NR_getpid);
    TRY(f, STEP_LISTEN, plan->listen_line, ours && !text_number(number, 10, MAX_FDS, &count) ? -EINVAL : 0);
    if (!ours)
        return true;
    for (int fd = FIRST_SOCKET; fd < FIRST_SOCKET + (int)count; fd++) {
        if (is_passed(plan, fd))
            continue;
        TRY(f, STEP_LISTEN, plan->listen_line, plan->pass_fd_count < MAX_FDS ? 0 : -E2BIG);
        plan->pass_fds[plan->pass_fd_count++] = fd;
    }
    run->listen_fds = variable(envp, "LISTEN_FDS=");
    run->listen_names = variable(envp, "LISTEN_FDNAMES=");
    return true;
}

/* Before all other variables, of which the first of a name counts. Its own pid the payload fills in later. */
size_t manager_environment(struct run *run, char **out)
{
    size_t used = 0;
    if (!run->listen_fds)
        return 0;
    out[used++] = run->listen_pid;
    out[used++] = (char *)run->listen_fds;
    if (run->listen_names)
        out[used++] = (char *)run->listen_names;
    return used;
}

void manager_payload_pid(struct run *run)
{
    struct line l = {run->listen_pid, sizeof run->listen_pid, 0, false};
    if (!run->listen_fds)
        return;
    line_text(&l, "LISTEN_PID=");
    line_number(&l, (uint64_t)SYS_0(__NR_getpid), 10);
}

/* A path, or with an @ a name in the abstract namespace; the length of the address, or -errno. */
static long unix_address(const char *text, struct sockaddr_un *out)
{
    size_t length = text_length(text);
    if (*text != '/' && *text != '@')
        return -EINVAL;
    if (length >= sizeof out->sun_path)
        return -ENAMETOOLONG;
    *out = (struct sockaddr_un){.sun_family = SOCKET_UNIX};
    memcpy(out->sun_path, text, length);
    if (*text == '@')
        out->sun_path[0] = 0;
    return (long)(offsetof(struct sockaddr_un, sun_path) + length + (*text == '/'));
}

bool manager_connect(struct run *run, char **envp, struct failure *f)
{
    const struct plan *plan = run->plan;
    const char *text = value(envp, "NOTIFY_SOCKET=");
    struct sockaddr_un address;
    if (!plan->notify_line)
        return true;
    long size = text ? unix_address(text, &address) : 0;
    TRY(f, STEP_NOTIFY, plan->notify_line, size);
    if (!text)
        return true;
    TRY(f, STEP_NOTIFY, plan->notify_line,
        run->manager = (int)SYS(__NR_socket, SOCKET_UNIX, SOCKET_DATAGRAM | O_CLOEXEC, 0));
    TRY(f, STEP_NOTIFY, plan->notify_line, SYS(__NR_connect, run->manager, &address, size));
    return true;
}

/* What the manager has not taken yet. It may read late, and the jail's clocks and streams do not wait for that. */
static char untold_memory[4096];
static struct line untold = {untold_memory, sizeof untold_memory, 0, false};

bool manager_waits(void)
{
    return untold.used > 0;
}

void manager_tell(const struct run *run)
{
    if (SYS(__NR_sendto, run->manager, untold.data, untold.used, NO_SIGNAL | DONT_WAIT, 0, 0) != -EAGAIN)
        untold.used = 0;
}

/* Several messages may go as one: sd_notify(3) takes any number of lines. */
static void say(const struct run *run, const struct line *l)
{
    if (run->manager < 0)
        return;
    if (manager_waits())
        line_char(&untold, '\n');
    line_bytes(&untold, l->data, l->used);
    manager_tell(run);
}

void manager_ready(const struct run *run)
{
    LINE(l, 64);
    line_text(&l, "READY=1\nSTATUS=running");
    say(run, &l);
}

void manager_stopping(const struct run *run)
{
    LINE(l, 64);
    line_text(&l, "STOPPING=1\nSTATUS=asked to end");
    say(run, &l);
}

/* One line whatever is in it: after a newline the manager would read more than was meant. */
void manager_ended(const struct run *run, const struct verdict *v)
{
    LINE(l, 2048);
    line_text(&l, "STATUS=");
    size_t from = l.used;
    if (v->failure.step != STEP_NONE)
        report_sentence(&l, run->plan, &v->failure, report_object(run->plan, &v->failure, run->command));
    else
        line_text(&l, outcome_name(outcome_ending(run, v)));
    for (size_t i = from; i < l.used; i++)
        if (l.data[i] == '\n')
            l.data[i] = ' ';
    line_text(&l, "\nEXIT_STATUS=");
    line_number(&l, (uint64_t)outcome_status(run, v), 10);
    say(run, &l);
    /* Nothing runs any more, so there is time; the kernel writes into `left` what is left of it. */
    struct __kernel_timespec left = {.tv_sec = PATIENCE_SECONDS};
    struct pollfd room = {.fd = run->manager, .events = POLLOUT};
    while (manager_waits() && SYS(__NR_ppoll, &room, 1, &left, 0, 8) > 0)
        manager_tell(run);
}
