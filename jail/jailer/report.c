#include "report.h"
#include <linux/fcntl.h>

static bool exists(const char *path)
{
    return SYS(__NR_faccessat, AT_FDCWD, path, 0) == 0;
}

/* The first digit of a one-number file below /proc or /sys; '?' where it is absent. */
static char knob(const char *path)
{
    char c = '?';
    int fd = sys_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return '?';
    if (sys_read(fd, &c, 1) != 1)
        c = '?';
    sys_close(fd);
    return c;
}

/* Creating a user namespace, mapping its ids and mounting in it fail for the same few reasons. */
static const char *namespace_hint(int error)
{
    if (error == ENOSYS)
        return "this kernel, or a seccomp filter around us, lacks a call that jails are made with (clone3, openat2, the "
               "mount API): Linux 5.12 or newer is needed; in a container --security-opt seccomp=unconfined; in a "
               "systemd unit neither DynamicUser= nor RestrictSUIDSGID=";
    if (error == ENOSPC || error == EUSERS)
        return "the host's limit on namespaces is reached or 0: sysctl -w user.max_user_namespaces=15000 (and max_net_, "
               "max_pid_, max_mnt_namespaces)";
    if (error == EROFS)
        return "/proc is read-only around us (within a jail or container): jails are made where a writable one is mounted";
    if (error != EPERM && error != EACCES)
        return NULL;
    if (knob("/proc/sys/kernel/unprivileged_userns_clone") == '0')
        return "this host forbids user namespaces to ordinary users: sysctl -w kernel.unprivileged_userns_clone=1, or run "
               "as root";
    if (knob("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == '1')
        return "AppArmor restricts user namespaces here (Ubuntu 23.10 and newer): give the jailer an AppArmor profile with "
               "'userns,', or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root";
    if (exists("/.dockerenv") || exists("/run/.containerenv"))
        return "inside a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
               "--security-opt systempaths=unconfined, or with --privileged";
    return "user namespaces seem to be forbidden here, by a security module, a seccomp filter or a chroot; 'pyjail check' "
           "tells more";
}

/* Whether anything is mounted below /proc here; then the kernel lets a user namespace mount no /proc of its own. */
static bool proc_is_covered(void)
{
    static char table[1 << 16];
    static const char below[] = " /proc/";
    int fd = sys_open(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY | O_CLOEXEC, 0);
    size_t used = 0;
    for (long n = 1; fd >= 0 && n > 0 && used < sizeof table; used += n > 0 ? (size_t)n : 0)
        n = sys_read(fd, table + used, sizeof table - used);
    if (fd >= 0)
        sys_close(fd);
    for (size_t i = 0; i + sizeof below <= used; i++)
        if (memcmp(table + i, below, sizeof below - 1) == 0)
            return true;
    return false;
}

static const char *mount_hint(int error)
{
    if (error == EPERM && proc_is_covered())
        return "parts of the /proc around us are covered, as in containers, and then the kernel lets no other be mounted: "
               "start the container with --security-opt systempaths=unconfined (Docker) or unmask=ALL (Podman), or leave "
               "/proc out with --no-proc";
    if (error == ENOTDIR)
        return "a folder goes on a folder and a file on a file; the root must be a folder";
    if (error == EPERM || error == EACCES || error == ENOSYS)
        return namespace_hint(error);
    if (error == ENOENT)
        return "the folder or file to mount on does not exist in the root and cannot be made there: make it, or choose "
               "another place";
    if (error == EROFS)
        return "the place to mount on lies in a read-only folder and does not exist: make it in the source, or mount "
               "elsewhere, for example below /tmp or a --tmpfs";
    if (error == ENOSPC)
        return "the host's limit on mounts is reached: sysctl fs.mount-max";
    return NULL;
}

static const char *source_hint(int error)
{
    switch (error) {
    case ENOENT:
        return "the source of a bind must exist when the jail starts";
    case ELOOP:
        return "the path leads in circles, or through a link of /proc, which is refused";
    case EACCES:
        return "you may not reach this path yourself, so neither may the jail";
    case EINVAL:
        return "the source is not of a kind that can be bound (a device where one is not expected, or not a device)";
    default:
        return namespace_hint(error);
    }
}

static const char *cgroup_hint(int error)
{
    switch (error) {
    case EROFS:
        return "/sys/fs/cgroup is read-only here (a container?): --allow-weaker memory --allow-weaker pids";
    case EBUSY:
        return "other processes are in the caller's own cgroup: move them to one below it, or start pyjail as the only "
               "one, in a unit of its own with Delegate=yes; --allow-weaker memory --allow-weaker pids does without";
    case EOPNOTSUPP:
        return "the caller's own cgroup is threaded, which has no memory limit: start pyjail in another one";
    case EINVAL:
    case ENOSPC:
    case ERANGE:
        return "the kernel does not take this value: see --memory, --pids, --cpus, --cpuset, --io-max and --io-weight";
    case ENODEV:
    case ENXIO:
        return "there is no such disk: --io-max takes the MAJOR:MINOR of a whole one, as lsblk -d shows it";
    default:
        return "this host does not let us use its cgroups: --allow-weaker memory --allow-weaker pids accepts limits per "
               "process";
    }
}

static const char *audit_hint(int error)
{
    switch (error) {
    case EINVAL:
        return "the policy traps, or kills single threads, or is a program of an unusual kind: let it return an errno or "
               "kill the process, or leave out the audit";
    case E2BIG:
        return "an audited program can have 4074 instructions: make the policy simpler, or leave out the audit";
    case EAGAIN:
        return "a limit on processes around us (ulimit -u, a cgroup) leaves no room for the audit's helper";
    case ENOENT:
        return "/proc must be mounted where pyjail runs, for the processes that it sees";
    default:
        return NULL;
    }
}

static const char *seccomp_hint(int error)
{
    switch (error) {
    case EBUSY:
        return "somebody listens to our system calls already (this is within an audited jail, or a container's runtime "
               "does), and there can be but one listener: leave out the audit on the inside";
    case EMFILE:
        return "the audit needs a free descriptor at the start: a higher --nofile";
    case EINVAL:
    case ENOSYS:
        return "this kernel has no such filters, or no notifications for the audit (Linux 5.5), or a filter around us "
               "forbids them";
    default:
        return NULL;
    }
}

const char *report_hint(const struct failure *f)
{
    switch (f->step) {
    case STEP_CLONE:
    case STEP_IPC:
        if (f->error == EINVAL)
            return "this kernel lacks one of the namespaces (zcat /proc/config.gz: CONFIG_TIME_NS and the like)";
        return namespace_hint(f->error);
    case STEP_NETWORK:
    case STEP_CGROUP_NS:
    case STEP_PROPAGATION:
        return namespace_hint(f->error);
    case STEP_COMMAND:
        return f->error == EINVAL ? "name a command: the plan holds none, and no words follow it" : NULL;
    case STEP_OUTCOME:
        return "its folder must exist and be yours to write; a descriptor must be open for writing";
    case STEP_READY:
        return f->error == EPERM || f->error == ENOSYS ? "the system call policy must allow read: it is needed once before the start"
                                                       : NULL;
    case STEP_ID_MAP:
        if (f->error == EPERM && SYS_0(__NR_geteuid) == 0)
            return "this root lacks CAP_SETUID, CAP_SETGID or CAP_SETFCAP, without which it can give a jail no ids: let the "
                   "container keep them, or start pyjail as another user";
        return f->error == ENOENT ? "/proc must be mounted where pyjail runs" : namespace_hint(f->error);
    case STEP_ROOT:
    case STEP_MOUNT:
    case STEP_NODE:
        return mount_hint(f->error);
    case STEP_SOURCE:
        return source_hint(f->error);
    case STEP_OWNER:
        return "files of a writable bind are made to belong to the jail by an idmapped mount, which this kernel or file "
               "system does not offer: run as the folder's owner instead of root, or bind a folder on ext4, xfs, btrfs or "
               "tmpfs";
    case STEP_IDS:
        return "the plan was made for an ordinary user: start it as that user (User= of a systemd unit), or make it again as "
               "root";
    case STEP_NAME:
        return f->error == EEXIST   ? "another jail of this user has it now: pyjail ps"
               : f->error == EAGAIN ? "somebody keeps a lock on the folder of names, maybe a jail that was shown it: lslocks"
                                    : "none of $XDG_RUNTIME_DIR, /run/user/UID and, for root, /run, else /tmp lets us have a folder "
                                      "of our own: leave out the name";
    case STEP_UID_POOL:
        return f->error == EAGAIN  ? "all ids of the pool are in use by live runs"
               : f->error == EPERM ? "it belongs to another user, who may not write in /run: remove it"
                                   : "/run must be writable for root";
    case STEP_CGROUP:
    case STEP_CGROUP_SET:
    case STEP_CGROUP_JOIN:
        return cgroup_hint(f->error);
    case STEP_SCOPE:
        return "the service manager of this user's session must answer (loginctl enable-linger, or log in): without it, "
               "--allow-weaker memory --allow-weaker pids accepts limits per process";
    case STEP_RLIMIT:
    case STEP_RAISE:
        return "the limit asked for is above what the caller may have (ulimit -H): lower it, or raise the caller's";
    case STEP_AUDIT:
        return audit_hint(f->error);
    case STEP_SECCOMP:
        return seccomp_hint(f->error);
    case STEP_LISTEN:
        return f->error == EINVAL ? "the service manager must count at most 64 sockets in LISTEN_FDS" : "with --pass-fd there are more than 64";
    case STEP_NOTIFY:
        return "somebody must listen where NOTIFY_SOCKET says, a path or an abstract name with @; without --notify nobody is told";
    case STEP_LIFE_FD:
    case STEP_CONTROL_FD:
        return f->error == EINVAL ? "the payload may not have it too: pass another" : "the descriptor must be open in the caller";
    case STEP_STDIO:
    case STEP_PASS_FD:
        if (f->error == EACCES || f->error == ENXIO)
            return "a limit on output needs a stdin that can only be read, and this one cannot be opened again: </dev/null, or "
                   "'cat |' before the command";
        return f->error == EISDIR ? "an open folder would let the payload out of its root: bind the folder instead"
                                  : "the descriptor must be open in the caller";
    case STEP_CWD:
        return "the working folder must exist inside the jail: --cwd, or bind it";
    case STEP_LANDLOCK:
        return "this kernel has no Landlock: leave it optional, or boot with lsm=landlock,…";
    case STEP_INIT:
        return "the jailer must lie on a file system that is mounted without noexec";
    case STEP_EXEC:
        if (f->error == ENOENT)
            return "no such program inside the jail (or its interpreter is missing there): its folder may need --ro-bind";
        if (f->error == EACCES)
            return "not an executable file, or on a mount without exec, or not readable for the jail's own user";
        return NULL;
    default:
        return NULL;
    }
}

const char *report_object(const struct plan *plan, const struct failure *f, const char *command)
{
    if (f->step == STEP_EXEC)
        return command;
    if (f->step == STEP_CWD)
        return plan->cwd ? plan->cwd : "/";
    if (f->step == STEP_OUTCOME && plan->outcome_file)
        return plan->outcome_file;
    if (f->step == STEP_UID_POOL)
        return plan->pool_lock;
    return f->line ? plan_object(plan, f->line) : "";
}

/* " on 'TARGET'", where the object is a bind's source. */
static void add_target(struct line *out, const struct plan *plan, const struct failure *f)
{
    for (unsigned i = 0; f->step == STEP_MOUNT && i < plan->node_count; i++)
        if (plan->nodes[i].line == f->line && plan->nodes[i].kind == NODE_BIND) {
            line_text(out, " on '");
            line_bytes(out, plan->nodes[i].target, text_length(plan->nodes[i].target) > 600 ? 600 : text_length(plan->nodes[i].target));
            line_char(out, '\'');
        }
}

void report_sentence(struct line *out, const struct plan *plan, const struct failure *f, const char *object)
{
    line_text(out, "cannot ");
    line_text(out, step_phrase(f->step));
    if (*object) {
        line_text(out, " '");
        line_bytes(out, object, text_length(object) > 600 ? 600 : text_length(object));
        line_char(out, '\'');
        add_target(out, plan, f);
    } else if (f->step == STEP_STDIO || f->step == STEP_PASS_FD || f->step == STEP_LIFE_FD || f->step == STEP_CONTROL_FD || (f->step == STEP_OUTCOME && f->number)) {
        line_char(out, ' ');
        line_number(out, f->number, 10);
    }
    if (f->error) {
        line_text(out, ": ");
        line_text(out, errno_text(f->error));
        line_text(out, " (");
        line_text(out, errno_name(f->error));
        if (text_equal(errno_name(f->error), "errno")) {
            line_char(out, ' ');
            line_number(out, (unsigned)f->error, 10);
        }
        if (f->line) {
            line_text(out, ", plan line ");
            line_number(out, f->line, 10);
        }
        line_char(out, ')');
    }
}

void report(const struct plan *plan, const struct failure *f, const char *command)
{
    LINE(text, 2048);
    line_text(&text, "pyjail: ");
    report_sentence(&text, plan, f, report_object(plan, f, command));
    line_char(&text, '\n');
    const char *hint = report_hint(f);
    if (hint) {
        line_text(&text, "pyjail: ");
        line_text(&text, hint);
        line_char(&text, '\n');
    }
    /* If stderr is gone there is nobody to tell; the status and the outcome still say it. */
    (void)sys_write_all(2, text.data, text.used);
}
