/* Usage where no cgroup counts it, from /proc: of the processes that live, and of those that somebody has waited for.
 * Good for people, and no limit rests on it. */
#include "peers.h"
#include <linux/fs.h>

#define MOST_PROCESSES 1024
#define TICK_US 10000 /* USER_HZ, the same on every machine */

static unsigned processes[MOST_PROCESSES];
static unsigned count;

static int open_proc(unsigned pid, const char *file, unsigned thread, int flags)
{
    LINE(path, 64);
    line_text(&path, "/proc/");
    line_number(&path, pid, 10);
    line_text(&path, file);
    if (thread) {
        line_number(&path, thread, 10);
        line_text(&path, "/children");
    }
    return sys_open(AT_FDCWD, path.data, O_RDONLY | O_CLOEXEC | flags, 0);
}

/* The next number of a text that spaces part, which it moves on; 0 at its end. */
static uint64_t next_number(const char **at)
{
    uint64_t value = 0;
    while (**at && (**at < '0' || **at > '9'))
        ++*at;
    for (; **at >= '0' && **at <= '9'; ++*at)
        value = value * 10 + (unsigned)(**at - '0');
    return value;
}

static void add_children(unsigned pid, unsigned thread)
{
    char text[4096] = {0};
    int fd = open_proc(pid, "/task/", thread, 0);
    if (fd < 0)
        return;
    sys_read(fd, text, sizeof text - 1);
    sys_close(fd);
    const char *at = text;
    for (uint64_t child; count < MOST_PROCESSES && (child = next_number(&at)) > 0;)
        processes[count++] = (unsigned)child;
}

static void add_threads(unsigned pid)
{
    char entries[2048] __attribute__((aligned(8)));
    long n;
    int fd = open_proc(pid, "/task", 0, O_DIRECTORY);
    if (fd < 0)
        return;
    while ((n = SYS(__NR_getdents64, fd, entries, sizeof entries)) > 0)
        for (long at = 0; at < n;) {
            const struct folder_entry *e = (const struct folder_entry *)(const void *)(entries + at);
            uint64_t thread;
            at += e->length;
            if (text_number(e->name, 10, INT32_MAX, &thread))
                add_children(pid, (unsigned)thread);
        }
    sys_close(fd);
}

/* proc_pid_stat(5): behind the name, which may hold anything, come the state and numbers; user and system time, and
 * those of children that were waited for, are the 11th to 14th, the threads the 17th. */
static bool add_process(unsigned pid, struct usage *u)
{
    char text[1024] = {0};
    uint64_t fields[18];
    int fd = open_proc(pid, "/stat", 0, 0);
    long n = fd < 0 ? fd : sys_read(fd, text, sizeof text - 1);
    if (fd >= 0)
        sys_close(fd);
    const char *at = n > 0 ? text_last(text, ')') : NULL;
    if (!at)
        return false;
    for (unsigned i = 1; i < COUNT(fields); i++)
        fields[i] = next_number(&at);
    u->user_us += (int64_t)(fields[11] + fields[13]) * TICK_US;
    u->system_us += (int64_t)(fields[12] + fields[14]) * TICK_US;
    u->pids += (int64_t)fields[17];
    return true;
}

bool usage_of_processes(unsigned init, struct usage *u)
{
    *u = (struct usage){.memory = -1, .peak_memory = -1, .pids_peak = -1};
    processes[0] = init;
    count = 1;
    if (!add_process(init, u))
        return false;
    u->pids = 0; /* it is not one of those that are limited */
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            add_process(processes[i], u);
        add_threads(processes[i]);
    }
    return true;
}
