/* An audited program is the policy's with other results: where that one refuses, this one asks the supervisor, who
 * runs the policy's own to learn how. The listener must get from the payload to the supervisor though the filter may
 * forbid to send it: a helper that shares the payload's descriptors, and has no filter, does it. */
#include "audit.h"
#include <asm/signal.h>
#include <linux/audit.h>
#include <linux/sched.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#define PENDING INT32_MIN
#define ARGUMENT_1 24 /* its lower half, in struct seccomp_data */
#define X32 0x40000000

/* seccomp(2), by every way into this kernel. */
static const struct {
    uint32_t arch, number;
} loaders[] = {
#if defined(__x86_64__)
    {AUDIT_ARCH_X86_64, __NR_seccomp},
    {AUDIT_ARCH_X86_64, X32 | __NR_seccomp},
    {AUDIT_ARCH_I386, 354},
#else
    {AUDIT_ARCH_AARCH64, __NR_seccomp},
    {AUDIT_ARCH_ARM, 383},
#endif
};

static struct sock_filter installed[MAX_PROGRAM];
static unsigned length;

static void emit(unsigned code, unsigned yes, unsigned no, uint32_t k)
{
    installed[length++] = (struct sock_filter){(uint16_t)code, (uint8_t)yes, (uint8_t)no, k};
}

/* A listener of the payload's own would be asked before us, and could let go on what we refuse. The kernel allows no
 * second one, but once our end is closed there is none: so these calls are always ours to answer. */
static void keep_listeners_out(void)
{
    for (unsigned i = 0; i < COUNT(loaders); i++) {
        emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
        emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, loaders[i].arch);
        emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
        emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, loaders[i].number);
        emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, ARGUMENT_1);
        emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER);
        emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF);
    }
    emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, 0); /* the accumulator as a program finds it */
}

bool audit_opens_listener(const struct seccomp_data *call)
{
    for (unsigned i = 0; i < COUNT(loaders); i++)
        if (call->arch == loaders[i].arch && (uint32_t)call->nr == loaders[i].number)
            return call->args[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER;
    return false;
}

/* Only what we can do in the kernel's place: it alone can end one thread, or raise a SIGSYS that tells of its call. */
static bool notify(struct sock_filter *i, bool all)
{
    if (i->code != (BPF_RET | BPF_K))
        return true;
    switch (i->k & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG:
        if (all)
            i->k = SECCOMP_RET_USER_NOTIF;
        return true;
    case SECCOMP_RET_ERRNO:
    case SECCOMP_RET_KILL_PROCESS:
        i->k = SECCOMP_RET_USER_NOTIF;
        return true;
    default:
        return false;
    }
}

/* Whether /proc shows the processes by the ids that notifications have. */
static bool sees_processes(void)
{
    char id[24] = {0};
    uint64_t self;
    return SYS(__NR_readlinkat, AT_FDCWD, "/proc/self", id, sizeof id - 1) > 0 &&
           text_number(id, 10, INT32_MAX, &self) && self == (uint64_t)SYS_0(__NR_getpid);
}

bool audit_prepare(const struct plan *plan, struct failure *f)
{
    if (!plan->audit)
        return true;
    unsigned line = plan->audit_line;
    TRY(f, STEP_AUDIT, line, sees_processes() ? 0 : -ENOENT);
    keep_listeners_out();
    TRY(f, STEP_AUDIT, line, length + plan->program_count > MAX_PROGRAM ? -E2BIG : 0);
    TRY(f, STEP_AUDIT, line, bpf_known(plan->program, plan->program_count) ? 0 : -EINVAL);
    for (unsigned i = 0; i < plan->program_count; i++) {
        installed[length] = plan->program[i];
        TRY(f, STEP_AUDIT, line, notify(&installed[length++], plan->audit == AUDIT_ALL) ? 0 : -EINVAL);
    }
    return true;
}

/* Between payload and helper, in their shared memory. */
static struct {
    const struct run *run;
    int payload;  /* its pid in the jail */
    int listener; /* its descriptor, a negative errno, or PENDING */
} handover;

static char stack[8192] __attribute__((aligned(16)));

/* The payload can tell nobody that it is done, for that would be a call: so this looks, for as long as a filter takes
 * to load. The jail starts only when the supervisor has the listener, and ends if it does not get it. */
static void hand_over(void *unused)
{
    struct parcel p = {.kind = PARCEL_LISTENER, .payload = handover.payload};
    struct failure f = {0};
    int fd;
    (void)unused;
    while ((fd = __atomic_load_n(&handover.listener, __ATOMIC_ACQUIRE)) == PENDING)
        SYS_0(__NR_sched_yield);
    if (fd < 0)
        return; /* the payload says why */
    long sent = step_fault(STEP_LISTENER) ? -EIO : channel_send(handover.run->control[1], &p, sizeof p, &fd, 1);
    if (sent < 0) {
        failed(&f, STEP_LISTENER, 0, -sent);
        give_up(handover.run->errors[1], &f, 125);
    }
}

/* The helper is init's child, not the payload's, which would find it among its own. Init waits for its end. */
bool audit_begin(const struct run *run, struct failure *f)
{
    if (!run->plan->audit)
        return true;
    handover.run = run;
    handover.payload = (int)SYS_0(__NR_getpid);
    handover.listener = PENDING;
    TRY(f, STEP_AUDIT, run->plan->audit_line,
        spawn(CLONE_VM | CLONE_FILES | CLONE_PARENT | SIGCHLD, stack + sizeof stack, NULL, hand_over, NULL));
    return true;
}

static long load(unsigned flags)
{
    struct sock_fprog program = {(unsigned short)length, installed};
    return SYS(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

long audit_load(void)
{
    /* A call that the supervisor has in hand is not interrupted, and so heard of once (Linux 5.19). */
    long fd = fault_lacks("wait_killable_recv")
                  ? -EINVAL
                  : load(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    if (fd == -EINVAL)
        fd = load(SECCOMP_FILTER_FLAG_NEW_LISTENER);
    __atomic_store_n(&handover.listener, (int)fd, __ATOMIC_RELEASE);
    return fd;
}
