/* The run's entry in its user's runtime folder: a socket on which others of the same user ask what the caller may ask.
 * Most runs have ended before they would have one. Nothing in the jail gets there: the folder is not in its mount
 * namespace, and where its caller binds it all the same, whoever connects must be of the supervisor's own user
 * namespace. */
#include "peers.h"
#include <linux/poll.h>
#include <linux/time_types.h>

#define SOCKET_UNIX 1
#define SOCKET_SEQPACKET 5
#define NON_BLOCKING 04000
#define SOCKET_LEVEL 1
#define PEER_CREDENTIALS 17
#define PEER_PIDFD 77
#define LOCK_EXCLUSIVE 2
#define LOCK_AT_ONCE 4
#define UNLOCK 8
#define WAITING 16

struct address {
    uint16_t family;
    char path[108];
};

static int folder = -1;
static char name[MAX_NAME + 1];

/* Ours alone, also when somebody else has made it where everybody may. */
static bool is_ours(int fd, unsigned closed_to)
{
    struct stat st;
    return sys_fstat(fd, &st) == 0 && S_FORMAT(st.st_mode) == S_DIRECTORY && st.st_uid == (unsigned)SYS_0(__NR_geteuid) &&
           !(st.st_mode & closed_to);
}

static long open_below(const char *parent, const char *last, bool shared)
{
    long fd = -ENOENT;
    int above = *parent == '/' ? sys_open(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) : -ENOENT;
    if (above < 0)
        return above;
    if (shared || is_ours(above, 022)) {
        SYS(__NR_mkdirat, above, last, 0700);
        fd = sys_open(above, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    }
    sys_close(above);
    if (fd >= 0 && !is_ours((int)fd, 077)) {
        sys_close((int)fd);
        fd = -EPERM;
    }
    return fd;
}

static long open_folder(const struct run *run)
{
    unsigned uid = (unsigned)SYS_0(__NR_geteuid);
    LINE(parent, 64);
    LINE(shared, 64);
    line_text(&parent, "/run/user/");
    line_number(&parent, uid, 10);
    line_text(&shared, "pyjail-");
    line_number(&shared, uid, 10);
    long fd = run->runtime ? open_below(run->runtime, "pyjail", false) : -ENOENT;
    if (fd < 0)
        fd = open_below(parent.data, "pyjail", false);
    if (fd < 0)
        fd = uid == 0 ? open_below("/run", "pyjail", false) : open_below("/tmp", shared.data, true);
    return fd;
}

static void address_of(struct address *a)
{
    struct line path = {a->path, sizeof a->path, 0, false};
    a->family = SOCKET_UNIX;
    line_text(&path, "/proc/self/fd/"); /* whatever the folder's own path is, and its length */
    line_number(&path, (unsigned)folder, 10);
    line_char(&path, '/');
    line_text(&path, name);
}

/* Whether somebody listens there. */
static bool is_live(const struct address *a)
{
    long fd = SYS(__NR_socket, SOCKET_UNIX, SOCKET_SEQPACKET | O_CLOEXEC | NON_BLOCKING, 0);
    long done = fd < 0 ? fd : SYS(__NR_connect, fd, a, sizeof *a);
    if (fd >= 0)
        sys_close((int)fd);
    return done != -ECONNREFUSED && done != -ENOENT;
}

static long listen_there(void)
{
    struct address a = {0};
    address_of(&a);
    long fd = SYS(__NR_socket, SOCKET_UNIX, SOCKET_SEQPACKET | O_CLOEXEC | NON_BLOCKING, 0);
    if (fd < 0)
        return fd;
    long done = SYS(__NR_bind, fd, &a, sizeof a);
    if (done == -EADDRINUSE && !is_live(&a)) { /* left behind by a supervisor that was killed */
        SYS(__NR_unlinkat, folder, name, 0);
        done = SYS(__NR_bind, fd, &a, sizeof a);
    }
    if (done >= 0)
        done = SYS(__NR_listen, fd, WAITING);
    if (done < 0)
        sys_close((int)fd);
    return done < 0 ? done : fd;
}

/* One at a time, since two might find the same entry stale. Nobody needs it for long but somebody who means harm, such
 * as a jail that was shown the folder. */
static long lock(unsigned tries)
{
    const struct __kernel_timespec pause = {0, 10000000};
    long done;
    while ((done = SYS(__NR_flock, folder, LOCK_EXCLUSIVE | LOCK_AT_ONCE)) == -EAGAIN && --tries)
        SYS(__NR_ppoll, 0, 0, &pause, 0, 8);
    return done;
}

static long enter(const struct run *run, unsigned tries)
{
    struct line text = {name, sizeof name, 0, false};
    long fd = open_folder(run);
    if (fd < 0)
        return fd;
    folder = (int)fd;
    if (run->plan->name)
        line_text(&text, run->plan->name);
    else
        line_number(&text, (unsigned)SYS_0(__NR_getpid), 10);
    fd = lock(tries);
    if (fd >= 0)
        fd = listen_there();
    SYS(__NR_flock, folder, UNLOCK);
    if (fd < 0) {
        sys_close(folder);
        folder = -1;
    }
    return fd;
}

bool registry_enter_named(struct run *run, struct failure *f)
{
    if (!run->plan->name)
        return true;
    long fd = enter(run, 200);
    TRY(f, STEP_NAME, run->plan->name_line, fd == -EADDRINUSE ? -EEXIST : fd);
    peers_listen((int)fd);
    return true;
}

/* It does without, where there is no such folder. */
void registry_enter(const struct run *run)
{
    long fd = folder < 0 ? enter(run, 1) : -EEXIST;
    if (fd >= 0)
        peers_listen((int)fd);
}

void registry_leave(void)
{
    if (folder >= 0)
        SYS(__NR_unlinkat, folder, name, 0);
}

const char *registry_name(void)
{
    return name;
}

static bool same_user_namespace(int pid)
{
    char own[64] = {0}, other[64] = {0};
    LINE(path, 48);
    line_text(&path, "/proc/");
    line_number(&path, (unsigned)pid, 10);
    line_text(&path, "/ns/user");
    return SYS(__NR_readlinkat, AT_FDCWD, "/proc/self/ns/user", own, sizeof own - 1) > 0 &&
           SYS(__NR_readlinkat, AT_FDCWD, path.data, other, sizeof other - 1) > 0 && text_equal(own, other);
}

/* Whether the process that has connected still lives, so that nobody else can have had its id: since Linux 6.5 the
 * kernel tells. */
static bool is_still_there(int fd)
{
    int pidfd = -1, size = sizeof pidfd;
    const struct __kernel_timespec at_once = {0};
    long done = SYS(__NR_getsockopt, fd, SOCKET_LEVEL, PEER_PIDFD, &pidfd, &size);
    if (done < 0)
        return done == -ENOPROTOOPT;
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    done = SYS(__NR_ppoll, &end, 1, &at_once, 0, 8);
    sys_close(pidfd);
    return done == 0;
}

int registry_accept(int listener)
{
    struct {
        int pid;
        unsigned uid, gid;
    } peer = {0};
    int size = sizeof peer;
    int fd = (int)SYS(__NR_accept4, listener, 0, 0, O_CLOEXEC | NON_BLOCKING);
    if (fd < 0)
        return fd;
    bool known = SYS(__NR_getsockopt, fd, SOCKET_LEVEL, PEER_CREDENTIALS, &peer, &size) == 0;
    if (known && (peer.uid == 0 || peer.uid == (unsigned)SYS_0(__NR_geteuid)) && peer.pid > 0 && same_user_namespace(peer.pid) &&
        is_still_there(fd))
        return fd;
    sys_close(fd);
    return -EPERM;
}
