/* What still runs in a jail whose init has been killed and does not get to die, which would be the end of all others.
 * Where there is one user id, init has the payload's, and with that it may have left init no share of the processors
 * (sched(7)), which only a privileged supervisor could give back. So the others go first, one by one. */
#include "supervise.h"
#include <asm/signal.h>

#define PARENT_NAMESPACE 0xb702 /* NS_GET_PARENT of ioctl_ns(2) */

static int namespace_of(unsigned pid)
{
    LINE(path, 48);
    line_text(&path, "/proc/");
    line_number(&path, pid, 10);
    line_text(&path, "/ns/pid");
    return sys_open(AT_FDCWD, path.data, O_RDONLY | O_CLOEXEC, 0);
}

/* In the jail's namespace of processes, or in one below it. */
static bool is_within(unsigned pid, const struct stat *jail)
{
    struct stat st;
    bool within = false;
    for (int fd = namespace_of(pid), above; fd >= 0 && !within; fd = above) {
        within = sys_fstat(fd, &st) == 0 && st.st_dev == jail->st_dev && st.st_ino == jail->st_ino;
        above = (int)SYS(__NR_ioctl, fd, PARENT_NAMESPACE);
        sys_close(fd);
        if (within && above >= 0)
            sys_close(above);
    }
    return within;
}

/* Held before it is looked at: if it ends meanwhile, whoever gets its id is not killed in its place. */
static void end_if_within(unsigned pid, const struct stat *jail)
{
    int fd = (int)SYS(__NR_pidfd_open, pid, 0);
    if (fd < 0)
        return;
    if (is_within(pid, jail))
        SYS(__NR_pidfd_send_signal, fd, SIGKILL, 0, 0);
    sys_close(fd);
}

void stragglers_kill(const struct run *run)
{
    char entries[4096] __attribute__((aligned(8)));
    struct stat jail;
    long n;
    int own = namespace_of((unsigned)run->pid);
    int all = own < 0 ? -1 : sys_open(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    bool known = own >= 0 && sys_fstat(own, &jail) == 0;
    while (known && all >= 0 && (n = SYS(__NR_getdents64, all, entries, sizeof entries)) > 0)
        for (long at = 0; at < n;) {
            const struct folder_entry *e = (const struct folder_entry *)(const void *)(entries + at);
            uint64_t pid;
            at += e->length;
            if (text_number(e->name, 10, INT32_MAX, &pid) && pid != (unsigned)run->pid)
                end_if_within((unsigned)pid, &jail);
        }
    if (all >= 0)
        sys_close(all);
    if (own >= 0)
        sys_close(own);
}
