/* User and group ids: a host id that no other live run has, the jail's maps, and idmapped owners. */
#include "run.h"
#include "text.h"
#include <asm/signal.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/wait.h>

/* Byte 1 + n of the lock file: id n of the pool. The locks belong to the open file (F_OFD_SETLK), which init inherits:
 * an id is free again only when supervisor and init are both gone, however they went. The file itself stays: making
 * it anew for each run would cost more than all locks. */
static long lock(int fd, uint64_t byte)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = 0 /* SEEK_SET */, .l_start = (long)byte, .l_len = 1};
    return SYS(__NR_fcntl, fd, F_OFD_SETLK, &l);
}

static long open_locks(const char *path)
{
    struct stat st;
    long fd = sys_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return fd;
    if (sys_fstat((int)fd, &st) == 0 && S_FORMAT(st.st_mode) == S_REGULAR && st.st_uid == 0)
        return fd;
    sys_close((int)fd);
    return -EPERM;
}

static long reserve(struct run *run)
{
    const struct plan *plan = run->plan;
    uint32_t seed = 0;
    long fd = open_locks(plan->pool_lock);
    if (fd < 0)
        return fd;
    /* Any start will do; far apart ones seldom meet. */
    SYS(__NR_getrandom, &seed, sizeof seed, GRND_NONBLOCK);
    for (unsigned i = 0; i < plan->pool_count; i++) {
        unsigned slot = (seed % plan->pool_count + i) % plan->pool_count;
        long done = lock((int)fd, 1 + (uint64_t)slot);
        if (done == 0) {
            run->id_lock = (int)fd;
            run->host_uid = run->host_gid = plan->pool_first + slot;
            return 0;
        }
        if (done != -EAGAIN && done != -EACCES) {
            sys_close((int)fd);
            return done;
        }
    }
    sys_close((int)fd);
    return -EAGAIN;
}

/* Whether id 0 here is the host's: only where no user namespace is around us are all ids mapped. */
static bool is_hosts_root(void)
{
    static const char all[] = "4294967295\n";
    char map[64];
    int fd = sys_open(AT_FDCWD, "/proc/self/uid_map", O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? fd : sys_read(fd, map, sizeof map);
    if (fd >= 0)
        sys_close(fd);
    return n < (long)sizeof all - 1 || memcmp(map + n - (sizeof all - 1), all, sizeof all - 1) == 0;
}

bool ids_reserve(struct run *run, struct failure *f)
{
    run->host_uid = (unsigned)SYS_0(__NR_geteuid);
    run->host_gid = (unsigned)SYS_0(__NR_getegid);
    run->id_lock = -1;
    /* Made for an ordinary user and started by root, it would run as root. */
    TRY(f, STEP_IDS, run->plan->ids_line, !run->plan->pool && run->host_uid == 0 && is_hosts_root() ? -EPERM : 0);
    if (run->plan->pool)
        TRY(f, STEP_UID_POOL, run->plan->ids_line, reserve(run));
    return true;
}

void ids_release(struct run *run)
{
    if (run->id_lock < 0)
        return;
    sys_close(run->id_lock);
    run->id_lock = -1;
}

/* Write one short file of /proc/PID in a single write(2), as the kernel demands of maps. */
static long write_proc(int pid, const char *name, const struct line *content)
{
    LINE(path, 64);
    line_text(&path, "/proc/");
    line_number(&path, (unsigned)pid, 10);
    line_char(&path, '/');
    line_text(&path, name);
    int fd = sys_open(AT_FDCWD, path.data, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long n = sys_write(fd, content->data, content->used);
    sys_close(fd);
    return n < 0 ? n : (size_t)n == content->used ? 0 : -EIO;
}

static long write_map(int pid, const char *name, unsigned inside, unsigned outside)
{
    LINE(map, 40);
    line_number(&map, inside, 10);
    line_char(&map, ' ');
    line_number(&map, outside, 10);
    line_text(&map, " 1");
    return write_proc(pid, name, &map);
}

/* A daemon's oom_score_adj of -1000 would make the payload unkillable for the OOM killer. */
static long unprotect_from_oom(int pid)
{
    LINE(zero, 4);
    char first = 0;
    int fd = sys_open(AT_FDCWD, "/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    sys_read(fd, &first, 1);
    sys_close(fd);
    line_char(&zero, '0');
    return first == '-' ? write_proc(pid, "oom_score_adj", &zero) : 0;
}

bool ids_map(struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    LINE(deny, 8);
    line_text(&deny, "deny");
    if (!plan->pool) /* without privilege the kernel maps a group only when setgroups(2) is given up */
        TRY(f, STEP_ID_MAP, plan->ids_line, write_proc(run->pid, "setgroups", &deny));
    TRY(f, STEP_ID_MAP, plan->ids_line, write_map(run->pid, "gid_map", plan->gid, run->host_gid));
    TRY(f, STEP_ID_MAP, plan->ids_line, write_map(run->pid, "uid_map", plan->uid, run->host_uid));
    TRY(f, STEP_ID_MAP, 0, unprotect_from_oom(run->pid));
    return true;
}

/* A user namespace lives on in its descriptor after the process that made it has gone. */
int ids_owner_namespace(unsigned uid, unsigned gid, unsigned host_uid, unsigned host_gid)
{
    struct clone_args args = {.flags = CLONE_NEWUSER};
    int hold[2], fd = -EIO;
    long done = SYS(__NR_pipe2, hold, O_CLOEXEC);
    if (done < 0)
        return (int)done;
    long pid = SYS(__NR_clone3, &args, sizeof args);
    if (pid == 0) {
        char c;
        sys_close(hold[1]);
        sys_read(hold[0], &c, 1);
        sys_exit(0);
    }
    sys_close(hold[0]);
    if (pid > 0) {
        LINE(path, 64);
        line_text(&path, "/proc/");
        line_number(&path, (unsigned long)pid, 10);
        line_text(&path, "/ns/user");
        done = write_map((int)pid, "gid_map", gid, host_gid);
        if (done == 0)
            done = write_map((int)pid, "uid_map", uid, host_uid);
        fd = done < 0 ? (int)done : sys_open(AT_FDCWD, path.data, O_RDONLY | O_CLOEXEC, 0);
    } else {
        fd = (int)pid;
    }
    sys_close(hold[1]);
    if (pid > 0)
        SYS(__NR_wait4, pid, 0, __WALL, 0);
    return fd;
}
