/* A terminal between payload and caller. It is made inside, of a devpts that no other jail has; the payload is at one
 * side of it, at the other the supervisor, whose relay passes on what comes. */
#include "run.h"
#include <asm/signal.h>
#include <asm/termios.h>
#include <linux/poll.h>
#include <linux/time_types.h>

/* The supervisor's. Its own copy of the payload's side keeps the terminal from hanging up when the payload has closed
 * all of its own for a while, and lets it when all of the jail is gone. */
static struct {
    int master, slave;
} pty = {-1, -1};

static int open_slave(int master)
{
    return (int)SYS(__NR_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

bool pty_open(struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    const struct parcel p = {.kind = PARCEL_PTY};
    int slave, ends[2], locked = 0;
    if (!plan->pty_line)
        return true;
    int folder = plan_devpts(plan)->tree;
    /* Never by a path: what the payload's folders hold must not choose the terminal. */
    TRY(f, STEP_PTY, plan->pty_line, ends[0] = sys_open(folder, "ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0));
    TRY(f, STEP_PTY, plan->pty_line, SYS(__NR_ioctl, ends[0], TIOCSPTLCK, &locked));
    TRY(f, STEP_PTY, plan->pty_line, ends[1] = open_slave(ends[0]));
    TRY(f, STEP_PTY, plan->pty_line, slave = open_slave(ends[0]));
    TRY(f, STEP_PTY, plan->pty_line, terminal_liken(slave));
    for (int fd = 0; fd <= 2; fd++)
        TRY(f, STEP_PTY, plan->pty_line, SYS(__NR_dup3, slave, fd, 0));
    long sent = channel_send(run->control[1], &p, sizeof p, ends, 2);
    if (sent != -EPIPE && sent != -ECONNRESET) /* the supervisor has given up: we shall hear so */
        TRY(f, STEP_PTY, plan->pty_line, sent);
    const int done_with[] = {folder, slave, ends[0], ends[1]};
    for (unsigned i = 0; i < COUNT(done_with); i++)
        sys_close(done_with[i]);
    return true;
}

/* The payload leads a session of its own, whose terminal this is; or else a group in init's session, where it is not a
 * leader and cannot gain a terminal. */
bool pty_control(const struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    if (!plan->pty_line) {
        SYS(__NR_setpgid, 0, 0);
        return true;
    }
    TRY(f, STEP_SESSION, plan->pty_line, SYS_0(__NR_setsid));
    TRY(f, STEP_SESSION, plan->pty_line, SYS(__NR_ioctl, 0, TIOCSCTTY, 0));
    return true;
}

static void resize(void)
{
    struct winsize size;
    terminal_size(&size);
    if (pty.master >= 0)
        SYS(__NR_ioctl, pty.master, TIOCSWINSZ, &size); /* of a change the kernel tells the group in the foreground */
}

void pty_resume(void)
{
    if (pty.master < 0)
        return;
    resize(); /* it may have changed meanwhile */
    terminal_raw();
}

bool pty_take(const struct run *run, const int *fds, unsigned count, struct failure *f)
{
    /* Fewer arrive where our own limit on descriptors is reached. */
    TRY(f, STEP_PTY, run->plan->pty_line, count == 2 ? 0 : -EMFILE);
    pty.master = fds[0];
    pty.slave = fds[1];
    relay_connect(pty.master);
    pty_resume();
    return true;
}

bool pty_missing(const struct run *run)
{
    return run->plan->pty_line && pty.master < 0;
}

/* What a terminal tells us is for the terminal inside: another size, or a key that the caller's has taken itself,
 * since not stdin but stdout is the terminal. */
bool pty_heed(int signal, bool from_terminal)
{
    if (pty.master < 0)
        return false;
    if (signal == SIGWINCH)
        resize();
    else if (!from_terminal || (signal != SIGINT && signal != SIGQUIT))
        return false;
    else
        SYS(__NR_ioctl, pty.master, TIOCSIG, signal);
    return true;
}

/* The caller's input is over, and stays so: as of a file, whoever reads again finds the end again, in whatever mode the
 * terminal is by then. Only when one end has been taken comes the next. In the relay's thread. */
void pty_say_end(void)
{
    struct pollfd jail = {.fd = pty.master}, unread = {.fd = pty.slave, .events = POLLIN};
    struct __kernel_timespec now = {0, 0}, soon = {0, 50000000};
    struct termios t;
    do {
        if (SYS(__NR_ppoll, &unread, 1, &now, 0, 8) > 0 || SYS(__NR_ioctl, pty.master, TCGETS, &t) < 0)
            continue;
        sys_write(pty.master, &t.c_cc[VEOF], 1);
    } while (SYS(__NR_ppoll, &jail, 1, &soon, 0, 8) == 0);
}

/* Nobody is left in the jail: what it has written is read, and then comes the end. */
void pty_leave(void)
{
    if (pty.master < 0)
        relay_connect(-1);
    if (pty.slave >= 0)
        sys_close(pty.slave);
    pty.slave = -1;
}
