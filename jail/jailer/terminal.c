/* The caller's own terminal, for as long as the jail's stands in its place: raw, so that every key reaches the jail's,
 * and again as it was however this process ends, SIGKILL excepted. */
#include "run.h"
#include <asm/signal.h>
#include <asm/termios.h>
#include <linux/poll.h>
#include <linux/time_types.h>

static struct {
    int keys;           /* stdin, if that is a terminal, or -1 */
    int screen;         /* which one's size counts: the first terminal among stdin, stdout and stderr, or -1 */
    struct termios own; /* as the caller has it, while it is raw */
    bool raw;
} caller = {.keys = -1, .screen = -1};

bool terminal_find(const struct run *run, struct failure *f)
{
    struct termios t;
    for (int fd = 0; run->plan->pty_line && fd <= 2 && caller.screen < 0; fd++) {
        if (SYS(__NR_ioctl, fd, TCGETS, &t) < 0)
            continue;
        TRY(f, STEP_PTY, run->plan->pty_line, caller.screen = (int)SYS(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 3));
        if (fd == 0)
            caller.keys = caller.screen;
    }
    return true;
}

/* What the jail's begins as: a person finds the keys of the own terminal there. What no person types is not echoed. */
long terminal_liken(int pty)
{
    struct termios t;
    struct winsize size;
    long done = SYS(__NR_ioctl, caller.keys >= 0 ? caller.keys : pty, TCGETS, &t);
    if (done < 0)
        return done;
    if (caller.keys < 0)
        t.c_lflag &= ~(tcflag_t)ECHO;
    t.c_line = 0;
    done = SYS(__NR_ioctl, pty, TCSETS, &t);
    terminal_size(&size);
    return done < 0 ? done : SYS(__NR_ioctl, pty, TIOCSWINSZ, &size);
}

void terminal_size(struct winsize *size)
{
    *size = (struct winsize){.ws_row = 24, .ws_col = 80};
    if (caller.screen >= 0)
        SYS(__NR_ioctl, caller.screen, TIOCGWINSZ, size);
}

/* In the background it is the shell's; where it is not the terminal of our session there is no such thing. */
static bool in_foreground(void)
{
    int group;
    return SYS(__NR_ioctl, caller.keys, TIOCGPGRP, &group) < 0 || group == SYS(__NR_getpgid, 0);
}

void terminal_restore(void)
{
    if (!caller.raw)
        return;
    caller.raw = false;
    if (!in_foreground())
        return;
    /* What is there unread was typed for the jail, or is a terminal's answer to what the payload has printed: the
     * shell is not to take it for commands. */
    SYS(__NR_ioctl, caller.keys, TCFLSH, TCIFLUSH);
    SYS(__NR_ioctl, caller.keys, TCSETS, &caller.own);
}

/* Also when it is so already: somebody may have changed it while we were stopped. */
void terminal_raw(void)
{
    if (caller.keys < 0 || !in_foreground())
        return;
    if (!caller.raw && SYS(__NR_ioctl, caller.keys, TCGETS, &caller.own) < 0)
        return;
    struct termios t = caller.own;
    t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag &= ~(tcflag_t)OPOST;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    signals_before_death(terminal_restore);
    caller.raw = true;
    SYS(__NR_ioctl, caller.keys, TCSETS, &t);
}

/* The window was closed, or the line is lost. */
bool terminal_gone(void)
{
    struct pollfd wait = {.fd = caller.keys};
    struct __kernel_timespec now = {0, 0};
    return caller.keys >= 0 && SYS(__NR_ppoll, &wait, 1, &now, 0, 8) > 0;
}
