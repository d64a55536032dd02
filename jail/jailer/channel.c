/* The control channel between supervisor and the jail's side: small messages, and descriptors with them. */
#include "run.h"
#include <linux/uio.h>

#define LEVEL_SOCKET 1
#define RIGHTS 1
#define DONT_WAIT 0x40
#define NO_SIGNAL 0x4000
#define CLOSE_ON_EXEC 0x40000000
#define HEADER 16

/* sendmsg(2) and cmsg(3), as the kernel has them. */
struct message {
    void *name;
    int name_length;
    struct iovec *data;
    size_t data_count;
    void *control;
    size_t control_length;
    int flags;
};

struct descriptors {
    size_t length;
    int level, type;
    int fd[CHANNEL_FDS];
};

long channel_send(int channel, const void *data, size_t size, const int *fds, unsigned count)
{
    struct iovec bytes = {(void *)data, size};
    struct descriptors d = {.length = HEADER + count * sizeof(int), .level = LEVEL_SOCKET, .type = RIGHTS};
    struct message m = {.data = &bytes, .data_count = 1};
    for (unsigned i = 0; i < count; i++)
        d.fd[i] = fds[i];
    if (count) {
        m.control = &d;
        m.control_length = (d.length + 7) & ~(size_t)7;
    }
    return SYS(__NR_sendmsg, channel, &m, DONT_WAIT | NO_SIGNAL);
}

static long receive(int channel, void *data, size_t size, int *fds, unsigned *count, int flags)
{
    struct iovec bytes = {data, size};
    struct descriptors d;
    struct message m = {.data = &bytes, .data_count = 1, .control = &d, .control_length = sizeof d};
    long n;
    do
        n = SYS(__NR_recvmsg, channel, &m, CLOSE_ON_EXEC | flags);
    while (n == -EINTR);
    *count = 0;
    if (n >= 0 && m.control_length >= HEADER && d.level == LEVEL_SOCKET && d.type == RIGHTS)
        for (; *count < CHANNEL_FDS && HEADER + (*count + 1) * sizeof(int) <= d.length; ++*count)
            fds[*count] = d.fd[*count];
    if (n == 0) /* no message, for all who ask: nobody would close what came with it */
        while (*count)
            sys_close(fds[--*count]);
    return n;
}

long channel_receive(int channel, void *data, size_t size, int *fds, unsigned *count)
{
    return receive(channel, data, size, fds, count, 0);
}

long channel_hear(int channel, void *data, size_t size, int *fds, unsigned *count)
{
    return receive(channel, data, size, fds, count, DONT_WAIT);
}
