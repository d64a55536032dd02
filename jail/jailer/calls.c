/* This machine's system calls: their names, and which of their arguments mean something as numbers. */
#include "audit.h"
#include "call_names.h" /* made by build.py: CALL_NAMES, a string for each number from 0 on */

const char *call_name(unsigned number)
{
    static const char names[] = CALL_NAMES;
    const char *at = names;
    for (; number > 0 && at < names + sizeof names - 1; number--)
        at += text_length(at) + 1;
    return at < names + sizeof names - 1 && *at ? at : NULL;
}

#define A0 1
#define A1 2
#define A2 4
#define A3 8
#define A4 16
#define A5 32

/* Families, types, flags, modes, commands, signals, resources: small sets that policies choose from. Not sizes and
 * addresses, nor descriptors and ids of processes, which differ with every call. */
static const struct {
    uint16_t number;
    uint8_t arguments;
} telling[] = {
    {__NR_accept4, A3},
    {__NR_add_key, A4},
    {__NR_bpf, A0},
    {__NR_clock_adjtime, A0},
    {__NR_clock_gettime, A0},
    {__NR_clock_nanosleep, A0 | A1},
    {__NR_clock_settime, A0},
    {__NR_clone, A0},
    {__NR_close_range, A2},
    {__NR_dup3, A2},
    {__NR_epoll_create1, A0},
    {__NR_epoll_ctl, A1},
    {__NR_eventfd2, A1},
    {__NR_execveat, A4},
    {__NR_faccessat, A2},
    {__NR_fallocate, A1},
    {__NR_fchmod, A1},
    {__NR_fchmodat, A2},
    {__NR_fchownat, A4},
    {__NR_fcntl, A1},
    {__NR_flock, A1},
    {__NR_fsconfig, A1},
    {__NR_fsmount, A1 | A2},
    {__NR_fsopen, A1},
    {__NR_futex, A1},
    {__NR_getpriority, A0},
    {__NR_getrandom, A2},
    {__NR_getrusage, A0},
    {__NR_getsockopt, A1 | A2},
    {__NR_inotify_init1, A0},
    {__NR_io_uring_register, A1},
    {__NR_ioctl, A1},
    {__NR_ioprio_set, A0},
    {__NR_kcmp, A2},
    {__NR_keyctl, A0},
    {__NR_kill, A1},
    {__NR_landlock_add_rule, A1},
    {__NR_landlock_create_ruleset, A2},
    {__NR_lseek, A2},
    {__NR_madvise, A2},
    {__NR_membarrier, A0 | A1},
    {__NR_memfd_create, A1},
    {__NR_mkdirat, A2},
    {__NR_mknodat, A2},
    {__NR_mlock2, A2},
    {__NR_mlockall, A0},
    {__NR_mmap, A2 | A3},
    {__NR_mount, A3},
    {__NR_mprotect, A2},
    {__NR_mremap, A3},
    {__NR_msync, A2},
    {__NR_newfstatat, A3},
    {__NR_open_tree, A2},
    {__NR_openat, A2 | A3},
    {__NR_perf_event_open, A4},
    {__NR_personality, A0},
    {__NR_pidfd_open, A1},
    {__NR_pipe2, A1},
    {__NR_pkey_alloc, A0 | A1},
    {__NR_prctl, A0},
    {__NR_preadv2, A5},
    {__NR_prlimit64, A1},
    {__NR_ptrace, A0},
    {__NR_pwritev2, A5},
    {__NR_quotactl, A0},
    {__NR_reboot, A0 | A1 | A2},
    {__NR_recvfrom, A3},
    {__NR_recvmsg, A2},
    {__NR_renameat2, A4},
    {__NR_rt_sigprocmask, A0},
    {__NR_sched_setscheduler, A1},
    {__NR_seccomp, A0 | A1},
    {__NR_sendmsg, A2},
    {__NR_sendto, A3},
    {__NR_setns, A1},
    {__NR_setpriority, A0},
    {__NR_setsockopt, A1 | A2},
    {__NR_shmget, A2},
    {__NR_shutdown, A1},
    {__NR_signalfd4, A3},
    {__NR_socket, A0 | A1 | A2},
    {__NR_socketpair, A0 | A1 | A2},
    {__NR_splice, A5},
    {__NR_statx, A2 | A3},
    {__NR_syslog, A0},
    {__NR_tgkill, A2},
    {__NR_timer_create, A0},
    {__NR_timerfd_create, A0 | A1},
    {__NR_tkill, A1},
    {__NR_umask, A0},
    {__NR_umount2, A1},
    {__NR_unlinkat, A2},
    {__NR_unshare, A0},
    {__NR_userfaultfd, A0},
    {__NR_wait4, A2},
    {__NR_waitid, A0 | A3},
#if defined(__x86_64__)
    {__NR_access, A1},
    {__NR_arch_prctl, A0},
    {__NR_chmod, A1},
    {__NR_creat, A1},
    {__NR_iopl, A0},
    {__NR_mkdir, A1},
    {__NR_mknod, A1},
    {__NR_modify_ldt, A0},
    {__NR_open, A1 | A2},
#endif
};

unsigned call_telling(unsigned number)
{
    for (unsigned i = 0; i < COUNT(telling); i++)
        if (telling[i].number == number)
            return telling[i].arguments;
    return 0;
}
