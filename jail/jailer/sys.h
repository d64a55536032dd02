/* Raw system calls. There is no libc below us: calls return a negative errno, nothing is hidden, nothing allocates.
 * Only the kernel's own headers are used, so that the same sources build freestanding and under a sanitizer. */
#ifndef PYJAIL_SYS_H
#define PYJAIL_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#error "pyjail knows x86_64 and aarch64"
#endif

#define SYS_PICK(_1, _2, _3, _4, _5, _6, NAME, ...) NAME
#define SYS(n, ...) SYS_PICK(__VA_ARGS__, SYS_6, SYS_5, SYS_4, SYS_3, SYS_2, SYS_1, )(n, __VA_ARGS__)
#define SYS_0(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define SYS_1(n, a) sys6(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS_2(n, a, b) sys6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS_3(n, a, b, c) sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS_4(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS_5(n, a, b, c, d, e) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS_6(n, a, b, c, d, e, f) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Numbers that older kernel headers lack; the same on every architecture that we know. */
#ifndef __NR_open_tree
#define __NR_open_tree 428
#define __NR_move_mount 429
#define __NR_fsopen 430
#define __NR_fsconfig 431
#define __NR_fsmount 432
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open 434
#endif
#ifndef __NR_clone3
#define __NR_clone3 435
#endif
#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif
#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#endif

/* From asm/stat.h by way of a wrapper, since its struct is named as libc's. */
#include <asm/stat.h>

/* getdents64(2) */
struct folder_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

#define S_FORMAT(mode) ((mode) & 0170000u)
#define S_DIRECTORY 0040000u
#define S_REGULAR 0100000u
#define S_CHARACTER 0020000u
#define S_SYMLINK 0120000u
#define S_SOCKET 0140000u

__attribute__((noreturn)) static inline void sys_exit(int status)
{
    for (;;)
        SYS(__NR_exit_group, status);
}

static inline int sys_open(int dir, const char *path, int flags, unsigned mode)
{
    return (int)SYS(__NR_openat, dir, path, flags, mode);
}

static inline int sys_close(int fd)
{
    return (int)SYS(__NR_close, fd);
}

static inline long sys_read(int fd, void *data, size_t size)
{
    long n;
    do
        n = SYS(__NR_read, fd, data, size);
    while (n == -EINTR);
    return n;
}

static inline long sys_write(int fd, const void *data, size_t size)
{
    long n;
    do
        n = SYS(__NR_write, fd, data, size);
    while (n == -EINTR);
    return n;
}

/* All of it, or a negative errno. */
static inline long sys_write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        long n = sys_write(fd, data, size);
        if (n < 0)
            return n;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static inline int sys_fstat(int fd, struct stat *st)
{
    return (int)SYS(__NR_fstat, fd, st);
}

static inline int sys_lstatat(int dir, const char *path, struct stat *st)
{
    return (int)SYS(__NR_newfstatat, dir, path, st, AT_SYMLINK_NOFOLLOW);
}

static inline long sys_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    return SYS(__NR_prctl, option, a, b, c, d);
}

#endif
