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

/* Runs on `stack`; returns to the assembly that ends the thread. The namespace's descriptor comes from a socket in
 * it: paths mean nothing here, since the other thread changes the root meanwhile. */
__attribute__((used)) void network_thread(void)
{
    if (step(STEP_NETWORK, SYS(__NR_unshare, CLONE_NEWNET)) < 0)
        return;
    int fd = (int)SYS(__NR_socket, SOCKET_INET, SOCKET_DATAGRAM | O_CLOEXEC, 0);
    if (step(STEP_LOOPBACK, fd) < 0 || step(STEP_LOOPBACK, loopback_up(fd)) < 0)
        return;
    network.descriptor = (int)SYS(__NR_ioctl, fd, SIOCGSKNS);
    step(STEP_NETWORK, network.descriptor);
    sys_close(fd);
}

static long start_thread(void)
{
    unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                          CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    long pid;
#if defined(__x86_64__)
    register long child_tid __asm__("r10") = (long)&network.thread;
    register long tls __asm__("r8") = 0;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call network_thread\n\t"
                     "xor %%edi, %%edi\n\t"
                     "mov %[exit], %%eax\n\t"
                     "syscall\n\t"
                     "1:"
                     : "=a"(pid)
                     : "a"(__NR_clone), "D"(flags), "S"(stack + sizeof stack), "d"(&network.thread), "r"(child_tid), "r"(tls),
                       [exit] "i"(__NR_exit)
                     : "rcx", "r11", "memory", "cc");
#else
    register long x8 __asm__("x8") = __NR_clone;
    register long x0 __asm__("x0") = (long)flags;
    register long x1 __asm__("x1") = (long)(stack + sizeof stack);
    register long x2 __asm__("x2") = (long)&network.thread;
    register long x3 __asm__("x3") = 0; /* tls comes before child_tid here */
    register long x4 __asm__("x4") = (long)&network.thread;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "bl network_thread\n\t"
                     "mov x0, #0\n\t"
                     "mov x8, %[exit]\n\t"
                     "svc 0\n\t"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), [exit] "i"(__NR_exit)
                     : "memory", "cc", "x30");
    pid = x0;
#endif
    return pid;
}

bool network_begin(struct run *run, struct failure *f)
{
    if (run->plan->own_network)
        TRY(f, STEP_NETWORK, 0, start_thread());
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
