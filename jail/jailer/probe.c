/* Each feature is asked for in a way that cannot succeed in changing anything: with arguments that only a kernel
 * that knows the call refuses for another reason than ENOSYS, or in a child with namespaces of its own. */
#include "probe.h"
#include "sys.h"
#include "text.h"
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/utsname.h>

#define SIGCHLD 17
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#define LANDLOCK_VERSION 1
#define FSCONFIG_CREATE 6

/* struct mount_attr, which older headers lack. */
struct attributes {
    uint64_t set, clear, propagation, userns_fd;
};

static void say(struct line *out, const char *name, const char *value)
{
    line_text(out, name);
    line_char(out, ' ');
    line_text(out, value);
    line_char(out, '\n');
}

static void say_yes(struct line *out, const char *name, bool yes)
{
    say(out, name, yes ? "yes" : "no");
}

/* "ok", the name of an errno, or its number. */
static void say_error(struct line *out, const char *name, int error)
{
    LINE(value, 24);
    line_text(&value, error ? errno_name(error) : "ok");
    if (text_equal(value.data, "errno")) {
        value.used = 0;
        line_number(&value, (uint64_t)error, 10);
    }
    say(out, name, value.data);
}

static int write_file(const char *path, const char *text)
{
    int fd = sys_open(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long n = sys_write_all(fd, text, text_length(text));
    sys_close(fd);
    return (int)n;
}

static int map_own(const char *path, long id)
{
    LINE(map, 48);
    line_text(&map, "0 ");
    line_number(&map, (uint64_t)id, 10);
    line_text(&map, " 1\n");
    return write_file(path, map.data);
}

static int make_tmpfs(void)
{
    int fs = (int)SYS(__NR_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */);
    if (fs == -ENOSYS)
        return (int)SYS(__NR_mount, "tmpfs", "/", "tmpfs", 0, 0);
    if (fs < 0)
        return fs;
    int error = (int)SYS(__NR_fsconfig, fs, FSCONFIG_CREATE, 0, 0, 0);
    if (error == 0)
        error = (int)SYS(__NR_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, 0);
    return error < 0 ? error : 0;
}

/* What the first steps of a jail come to. AppArmor may let the namespace be made and deny all that follows. */
static int inside_userns(long uid, long gid)
{
    int error = map_own("/proc/self/uid_map", uid);
    if (error == 0)
        error = write_file("/proc/self/setgroups", "deny");
    if (error == 0)
        error = map_own("/proc/self/gid_map", gid);
    return error ? error : make_tmpfs();
}

static void probe_userns(struct line *out)
{
    long uid = SYS_0(__NR_geteuid), gid = SYS_0(__NR_getegid);
    int status = 0;
    long child = SYS(__NR_clone, CLONE_NEWUSER | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        sys_exit(-inside_userns(uid, gid));
    say_error(out, "userns", child < 0 ? (int)-child : 0);
    if (child < 0)
        return say_error(out, "userns-mount", (int)-child);
    long waited;
    do
        waited = SYS(__NR_wait4, child, &status, 0, 0);
    while (waited == -EINTR);
    bool exited = waited == child && !(status & 0x7f);
    say_error(out, "userns-mount", exited ? status >> 8 & 0xff : EINTR);
}

static void probe_mounts(struct line *out)
{
    struct attributes idmap = {.set = MOUNT_ATTR_IDMAP, .userns_fd = INT32_MAX};
    long known = SYS(__NR_mount_setattr, -1, "", AT_EMPTY_PATH, &idmap, sizeof idmap);
    say_yes(out, "mount-api", SYS(__NR_fsopen, 0, 0) != -ENOSYS && SYS(__NR_open_tree, -1, "", ~0u) != -ENOSYS);
    say_yes(out, "mount-setattr", known != -ENOSYS);
    /* Without privilege the kernel says EPERM before it looks: then it matters to nobody. */
    say_yes(out, "idmap", known == -EBADF || known == -EPERM);
}

static void probe_calls(struct line *out)
{
    long self = SYS(__NR_pidfd_open, SYS_0(__NR_getpid), 0);
    if (self >= 0)
        sys_close((int)self);
    say_yes(out, "openat2", SYS(__NR_openat2, -1, "", 0, 0) == -EINVAL);
    say_yes(out, "clone3", SYS(__NR_clone3, 0, 0) == -EINVAL);
    say_yes(out, "close-range", SYS(__NR_close_range, UINT32_MAX, UINT32_MAX, 0) == 0);
    say_yes(out, "pidfd", self >= 0);
}

static void probe_security(struct line *out)
{
    LINE(abi, 24);
    uint32_t allow = SECCOMP_RET_ALLOW, notify = 0x7fc00000 /* SECCOMP_RET_USER_NOTIF */;
    long landlock = SYS(__NR_landlock_create_ruleset, 0, 0, LANDLOCK_VERSION);
    line_number(&abi, landlock > 0 ? (uint64_t)landlock : 0, 10);
    say(out, "landlock-abi", abi.data);
    say_yes(out, "seccomp", SYS(__NR_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &allow) == 0);
    say_yes(out, "seccomp-notify", SYS(__NR_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &notify) == 0);
}

int probe(void)
{
    LINE(out, 2048);
    struct stat st;
    struct new_utsname name;
    say(&out, "kernel", SYS(__NR_uname, &name) < 0 ? "unknown" : name.release);
    probe_userns(&out);
    probe_mounts(&out);
    probe_calls(&out);
    probe_security(&out);
    say_yes(&out, "time-namespace", sys_lstatat(AT_FDCWD, "/proc/self/ns/time", &st) == 0);
    return out.full || sys_write_all(1, out.data, out.used) < 0 ? 125 : 0;
}
