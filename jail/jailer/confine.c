/* What a process gives up for good: capabilities, limits, paths, system calls. */
#include "audit.h"
#include "run.h"
#include "text.h"
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>

static long raise_ambient(uint64_t keep)
{
    for (unsigned cap = 0; cap < 64; cap++)
        if (keep >> cap & 1) {
            long done = sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
            if (done < 0)
                return done;
        }
    return 0;
}

/* What no execve can ever give again. It takes a call for each, so it comes while something else is waited for. */
bool confine_bounding_set(uint64_t keep, struct failure *f)
{
    for (unsigned cap = 0; cap < 64; cap++) {
        long done = keep >> cap & 1 ? 0 : sys_prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (done == -EINVAL && cap > 0)
            break; /* beyond the kernel's last capability */
        TRY(f, STEP_CAPABILITIES, 0, done);
    }
    return true;
}

bool confine_capabilities(uint64_t keep, struct failure *f)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    /* uid 0 is not special for the payload, and neither execve nor setuid ever changes its capabilities again. */
    unsigned bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                    SECBIT_KEEP_CAPS_LOCKED;
    if (!keep)
        bits |= SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    TRY(f, STEP_CAPABILITIES, 0, sys_prctl(PR_SET_SECUREBITS, bits, 0, 0, 0));
    TRY(f, STEP_CAPABILITIES, 0, sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted = data[i].inheritable = (uint32_t)(keep >> (32 * i));
    TRY(f, STEP_CAPABILITIES, 0, SYS(__NR_capset, &header, data));
    TRY(f, STEP_CAPABILITIES, 0, raise_ambient(keep));
    return true;
}

/* A hard limit can only be lowered here. One that is not exact stays what it is where the plan has more. */
static long set_limit(const struct limit *l)
{
    uint64_t now[2], want[2] = {l->soft < l->hard ? l->soft : l->hard, l->hard};
    long done = SYS(__NR_prlimit64, 0, l->resource, want, 0);
    if (done != -EPERM || l->exact)
        return done;
    done = SYS(__NR_prlimit64, 0, l->resource, 0, now);
    want[0] = want[0] < now[1] ? want[0] : now[1];
    want[1] = now[1];
    return done < 0 ? done : SYS(__NR_prlimit64, 0, l->resource, want, 0);
}

/* Late are those that the taking of a command could run into. */
bool confine_limits(const struct plan *plan, enum limits which, struct failure *f)
{
    for (unsigned i = 0; i < plan->limit_count; i++) {
        const struct limit *l = &plan->limits[i];
        bool late = l->resource == RLIMIT_NOFILE || l->resource == RLIMIT_AS || l->resource == RLIMIT_DATA;
        if (which & (late ? LIMITS_LATE : LIMITS_AHEAD))
            TRY(f, STEP_RLIMIT, l->line, set_limit(l));
    }
    return true;
}

/* Landlock(7), by number: older headers know only the first of these. */
#define ACCESS_EXECUTE (1ULL << 0)
#define ACCESS_WRITE_FILE (1ULL << 1)
#define ACCESS_READ_FILE (1ULL << 2)
#define ACCESS_READ_DIR (1ULL << 3)
#define ACCESS_TRUNCATE (1ULL << 14)
#define ACCESS_IOCTL_DEV (1ULL << 15)
#define ACCESS_ABI_1 ((1ULL << 13) - 1)
#define ACCESS_REFER (1ULL << 13)
#define ACCESS_OF_FILES (ACCESS_EXECUTE | ACCESS_WRITE_FILE | ACCESS_READ_FILE | ACCESS_TRUNCATE | ACCESS_IOCTL_DEV)
#define SCOPE_ABSTRACT_UNIX_SOCKET 1
#define SCOPE_SIGNAL 2
#define RULE_PATH_BENEATH 1
#define CREATE_RULESET_VERSION 1

struct ruleset {
    uint64_t access_fs, access_net, scoped;
};

struct path_beneath {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));

static long add_rule(int ruleset, int fd, uint64_t access)
{
    struct path_beneath rule = {access, fd};
    struct stat st;
    long done = sys_fstat(fd, &st);
    if (done < 0)
        return done;
    if (S_FORMAT(st.st_mode) != S_DIRECTORY)
        rule.access &= ACCESS_OF_FILES;
    return rule.access ? SYS(__NR_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) : 0;
}

/* An inherited regular file may be opened again through /proc/self/fd, with no right that the descriptor lacks:
 * not for writing if it was opened for reading, and an append-only file not at all, since O_APPEND would be lost. */
static long add_inherited(int ruleset, int fd, uint64_t handled)
{
    struct stat st;
    uint64_t access = 0;
    long flags = SYS(__NR_fcntl, fd, F_GETFL);
    if (flags < 0 || sys_fstat(fd, &st) != 0 || S_FORMAT(st.st_mode) != S_REGULAR)
        return 0;
    if ((flags & O_ACCMODE) != O_WRONLY)
        access |= ACCESS_READ_FILE;
    if ((flags & O_ACCMODE) != O_RDONLY && !(flags & O_APPEND))
        access |= ACCESS_WRITE_FILE | ACCESS_TRUNCATE;
    long done = add_rule(ruleset, fd, access & handled);
    return done == -EBADFD ? 0 : done; /* a memfd or the like: no rule applies to it, nor is one needed */
}

/* Whether a descriptor leads to a regular file whose content it does not let one change at will. */
static bool guards_content(int fd)
{
    struct stat st;
    long flags = SYS(__NR_fcntl, fd, F_GETFL);
    return flags >= 0 && sys_fstat(fd, &st) == 0 && S_FORMAT(st.st_mode) == S_REGULAR &&
           ((flags & O_ACCMODE) == O_RDONLY || flags & O_APPEND);
}

/* truncate(2) by /proc/self/fd asks no descriptor, and Landlock learnt of it with its third ABI only (Linux 6.2).
 * Where it could cut an inherited file, an older kernel refuses it everywhere: ftruncate(2) remains. */
static long refuse_truncate(const struct plan *plan)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~0x40000000U), /* x32 has the same numbers */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_truncate, 3, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 92, 1, 0), /* truncate and truncate64, of i386 and of 32-bit Arm */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 193, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(filter), filter};
    bool needed = guards_content(0) || guards_content(1) || guards_content(2);
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        needed |= guards_content(plan->pass_fds[i]);
    return needed ? SYS(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) : 0;
}

/* What Landlock is to hold, as far as the plan says it; the descriptors' part and the rest can wait. */
bool confine_landlock_prepare(const struct plan *plan, struct landlock *l, struct failure *f)
{
    *l = (struct landlock){.ruleset = -1};
    if (plan->rule_count == 0)
        return true;
    unsigned line = plan->rules[0].line;
    l->abi = SYS(__NR_landlock_create_ruleset, 0, 0, CREATE_RULESET_VERSION);
    if (l->abi >= 3 && fault_lacks("landlock_truncate"))
        l->abi = 2;
    if (l->abi < 0 && !plan->landlock_required && !step_fault(STEP_LANDLOCK))
        return true;
    TRY(f, STEP_LANDLOCK, line, l->abi);
    uint64_t all = ACCESS_ABI_1 | (l->abi >= 2 ? ACCESS_REFER : 0) | (l->abi >= 3 ? ACCESS_TRUNCATE : 0) |
                   (l->abi >= 5 ? ACCESS_IOCTL_DEV : 0);
    uint64_t reading = ACCESS_EXECUTE | ACCESS_READ_FILE | ACCESS_READ_DIR;
    struct ruleset attributes = {all, 0, l->abi >= 6 ? SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL : 0};
    size_t size = l->abi >= 6 ? 24 : l->abi >= 4 ? 16 : 8;
    l->handled = all;
    TRY(f, STEP_LANDLOCK, line, l->ruleset = (int)SYS(__NR_landlock_create_ruleset, &attributes, size, 0));
    for (unsigned i = 0; i < plan->rule_count; i++) {
        const struct rule *r = &plan->rules[i];
        int fd = sys_open(AT_FDCWD, r->path, O_PATH | O_CLOEXEC, 0);
        if (fd == -ENOENT)
            continue;
        TRY(f, STEP_LANDLOCK, r->line, fd);
        long done = add_rule(l->ruleset, fd, r->writable ? all : reading);
        sys_close(fd);
        TRY(f, STEP_LANDLOCK, r->line, done);
    }
    return true;
}

bool confine_landlock(const struct plan *plan, const struct landlock *l, struct failure *f)
{
    if (l->ruleset < 0)
        return true;
    unsigned line = plan->rules[0].line;
    for (int fd = 0; fd <= 2; fd++)
        TRY(f, STEP_LANDLOCK, line, add_inherited(l->ruleset, fd, l->handled));
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        TRY(f, STEP_LANDLOCK, line, add_inherited(l->ruleset, plan->pass_fds[i], l->handled));
    TRY(f, STEP_LANDLOCK, line, SYS(__NR_landlock_restrict_self, l->ruleset, 0));
    if (l->abi < LANDLOCK_TRUNCATE)
        TRY(f, STEP_LANDLOCK, line, refuse_truncate(plan));
    sys_close(l->ruleset);
    return true;
}

bool confine_seccomp(const struct plan *plan, struct failure *f)
{
    struct sock_fprog program = {(unsigned short)plan->program_count, plan->program};
    if (plan->audit)
        TRY(f, STEP_SECCOMP, 0, audit_load());
    else if (plan->program_count)
        TRY(f, STEP_SECCOMP, 0, SYS(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    return true;
}
