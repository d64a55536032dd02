/* The control channel between supervisor and the jail's side: orders, and descriptors with them. */
#include "run.h"
#include <linux/uio.h>

#define LEVEL_SOCKET 1
#define RIGHTS 1
#define DONT_WAIT 0x40
#define NO_SIGNAL 0x4000
#define CLOSE_ON_EXEC 0x40000000

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
    int fd[MAX_CGROUPS];
};

long channel_send(int channel, const struct order *order, const int *fds, unsigned count)
{
    struct iovec data = {(void *)order, sizeof *order};
    struct descriptors d = {.length = 16 + count * sizeof(int), .level = LEVEL_SOCKET, .type = RIGHTS};
    struct message m = {.data = &data, .data_count = 1, .control = &d, .control_length = count ? sizeof d : 0};
    for (unsigned i = 0; i < count; i++)
        d.fd[i] = fds[i];
    if (count)
        m.control_length = (d.length + 7) & ~(size_t)7;
    return SYS(__NR_sendmsg, channel, &m, DONT_WAIT | NO_SIGNAL);
}

long channel_receive(int channel, struct order *order, int *fds, unsigned *count)
{
    struct iovec data = {order, sizeof *order};
    struct descriptors d = {0};
    struct message m = {.data = &data, .data_count = 1, .control = &d, .control_length = sizeof d};
    long n;
    do
        n = SYS(__NR_recvmsg, channel, &m, CLOSE_ON_EXEC);
    while (n == -EINTR);
    *count = 0;
    if (n > 0 && m.control_length >= 16 && d.level == LEVEL_SOCKET && d.type == RIGHTS)
        for (; *count < MAX_CGROUPS && 16 + (*count + 1) * sizeof(int) <= d.length; ++*count)
            fds[*count] = d.fd[*count];
    return n;
}
