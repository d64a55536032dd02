/* The jail's own network. Creating it is half of what all namespaces together cost, so a thread does it while the
 * root is being built; the thread ends before any privilege is given up. */
#include "run.h"
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/sockios.h>

#define SOCKET_INET 2
#define SOCKET_DATAGRAM 2
#define INTERFACE_UP 1

/* netdevice(7); linux/if.h would bring libc's headers along. */
struct interface_request {
    char name[16];
    short flags;
    char rest[22];
};

static struct {
    int thread;      /* its id while it lives: the kernel clears it and wakes us */
    int descriptor;  /* of the new namespace */
    enum step step;
    long done;
} network;

static char stack[8192] __attribute__((aligned(16)));

static long loopback_up(int socket)
{
    struct interface_request lo = {.name = "lo", .flags = INTERFACE_UP};
    return SYS(__NR_ioctl, socket, SIOCSIFFLAGS, &lo);
}

/* Note the result of a step; with fault injection, of a failure in its place. */
static long step(enum step which, long done)
{
    network.step = which;
    network.done = step_fault(which) ? -EIO : done;
    return network.done;
}

/* The namespace's descriptor comes from a socket in it: paths mean nothing here, since the other thread changes the
 * root meanwhile. */
static void set_up(void)
{
    int fd = (int)SYS(__NR_socket, SOCKET_INET, SOCKET_DATAGRAM | O_CLOEXEC, 0);
    if (step(STEP_LOOPBACK, fd) < 0 || step(STEP_LOOPBACK, loopback_up(fd)) < 0)
        return;
    network.descriptor = (int)SYS(__NR_ioctl, fd, SIOCGSKNS);
    step(STEP_NETWORK, network.descriptor);
    sys_close(fd);
}

/* Made or not, the supervisor hears that most of the work here is done: it makes the cgroups then, not in the way of the
 * other thread, which builds the root. What is left waits for a lock that all networks of the machine share. */
static void run_thread(void *control)
{
    struct parcel made = {.kind = PARCEL_NETWORK};
    long done = step(STEP_NETWORK, SYS(__NR_unshare, CLONE_NEWNET));
    channel_send(*(int *)control, &made, sizeof made, NULL, 0);
    if (done >= 0)
        set_up();
}

/* The scheduler starts a thread beside its maker while the supervisor is busy on the other processor, and is then slow
 * to part them. Nothing else ever has this thread's affinity; where there is one processor only, nothing changes. */
static void run_elsewhere(int thread)
{
    unsigned long allowed[16] = {0};
    unsigned here = 0, left = 0;
    long size = SYS(__NR_sched_getaffinity, 0, sizeof allowed, allowed);
    if (size <= 0 || SYS(__NR_getcpu, &here, 0, 0) != 0 || here >= 64 * COUNT(allowed))
        return;
    allowed[here / 64] &= ~(1UL << here % 64);
    for (unsigned i = 0; i < COUNT(allowed); i++)
        left |= allowed[i] != 0;
    if (left)
        SYS(__NR_sched_setaffinity, thread, size, allowed);
}

/* A page that we share with the supervisor is copied when it is first written to: that had better be now, since it
 * interrupts every processor that a thread of ours runs on. */
static void own_nodes(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->node_count; i++) {
        volatile int *tree = &plan->nodes[i].tree;
        *tree = *tree;
    }
}

bool network_begin(struct run *run, struct failure *f)
{
    const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    if (!run->plan->own_network)
        return true;
    own_nodes(run->plan);
    long thread = spawn(flags, stack + sizeof stack, &network.thread, run_thread, &run->control[1]);
    TRY(f, STEP_NETWORK, 0, thread);
    run_elsewhere((int)thread);
    return true;
}

bool network_join(struct run *run, struct failure *f)
{
    if (!run->plan->own_network)
        return true;
    for (int id; (id = __atomic_load_n(&network.thread, __ATOMIC_ACQUIRE)) != 0;)
        SYS(__NR_futex, &network.thread, FUTEX_WAIT, id, 0, 0, 0); /* not private: the kernel's wake-up is not either */
    TRY(f, network.step, 0, network.done);
    TRY(f, STEP_NETWORK, 0, SYS(__NR_setns, network.descriptor, CLONE_NEWNET));
    sys_close(network.descriptor);
    return true;
}
