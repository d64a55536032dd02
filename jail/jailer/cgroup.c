/* cgroup v1: one cgroup a controller for this run, below the one that the caller is in. */
#include "run.h"
#include "text.h"
#include <linux/poll.h>
#include <linux/random.h>
#include <linux/time_types.h>

#define PREFIX "pyjail-"
#define LOCK_EXCLUSIVE 2
#define LOCK_AT_ONCE 4
#define REMOVE_FOLDER 0x200 /* AT_REMOVEDIR */
#define MEMBERSHIP 16384

static char name_memory[48]; /* the same name below every controller */

/* getdents64(2) */
struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static const char *make_name(void)
{
    struct line name = {name_memory, sizeof name_memory, 0, false};
    uint32_t random = 0;
    SYS(__NR_getrandom, &random, sizeof random, GRND_NONBLOCK);
    line_text(&name, PREFIX);
    line_number(&name, (unsigned long)SYS_0(__NR_getpid), 10);
    line_char(&name, '-');
    line_number(&name, random, 16);
    return name_memory;
}

static bool lists(const char *list, const char *list_end, const char *word)
{
    size_t n = text_length(word);
    for (const char *s = list; s < list_end; s++) {
        const char *end = s;
        while (end < list_end && *end != ',')
            end++;
        if ((size_t)(end - s) == n && memcmp(s, word, n) == 0)
            return true;
        s = end;
    }
    return false;
}

/* The caller's cgroup of a controller, from the lines "ID:CONTROLLERS:PATH" of /proc/self/cgroup; "" if none. */
static char *own_path(char *text, const char *controller)
{
    for (char *at = text; *at;) {
        char *first = at, *second, *end;
        while (*first && *first != ':' && *first != '\n')
            first++;
        second = *first == ':' ? first + 1 : first;
        while (*second && *second != ':' && *second != '\n')
            second++;
        end = second;
        while (*end && *end != '\n')
            end++;
        bool more = *end;
        if (*first == ':' && *second == ':' && lists(first + 1, second, controller)) {
            *end = 0;
            return second + 1;
        }
        at = more ? end + 1 : end;
    }
    return NULL;
}

/* What /proc/self/cgroup says, read once. */
static long read_membership(char *text, size_t size)
{
    int fd = sys_open(AT_FDCWD, "/proc/self/cgroup", O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? fd : sys_read(fd, text, size - 1);
    if (fd >= 0)
        sys_close(fd);
    text[n < 0 ? 0 : n] = 0;
    return n;
}

static long open_parent(const struct cgroup *c, const char *membership)
{
    char text[MEMBERSHIP];
    LINE(path, 4096);
    memcpy(text, membership, text_length(membership) + 1);
    const char *own = own_path(text, c->controller);
    if (!own)
        return -ENOENT;
    /* In a container the mount shows a part of the hierarchy only; our path counts from its beginning. */
    if (!text_equal(c->mountroot, "/") && text_starts(own, c->mountroot))
        own += text_length(c->mountroot);
    line_text(&path, c->mountpoint);
    line_text(&path, own);
    return path.full ? -ENAMETOOLONG : sys_open(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

/* Open a run's cgroup and lock it: the lock is its supervisor's life sign, and ends with it however it ends. */
static long open_locked(int parent, const char *name, int at_once)
{
    long fd = sys_open(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    long done = fd < 0 ? fd : SYS(__NR_flock, fd, LOCK_EXCLUSIVE | at_once);
    if (fd >= 0 && done < 0)
        sys_close((int)fd);
    return done < 0 ? done : fd;
}

/* Remove the cgroups of runs whose supervisor was killed. One with processes left is busy and stays. */
static void reclaim(int parent)
{
    char entries[4096] __attribute__((aligned(8)));
    long n;
    while ((n = SYS(__NR_getdents64, parent, entries, sizeof entries)) > 0)
        for (long at = 0; at < n;) {
            const struct entry *e = (const struct entry *)(const void *)(entries + at);
            at += e->length;
            long fd = text_starts(e->name, PREFIX) ? open_locked(parent, e->name, LOCK_AT_ONCE) : -ENOENT;
            if (fd < 0)
                continue;
            SYS(__NR_unlinkat, parent, e->name, REMOVE_FOLDER);
            sys_close((int)fd);
        }
}

static long make(struct cgroup *c, const char *name, const char *membership)
{
    struct stat st;
    long done = open_parent(c, membership);
    if (done < 0)
        return done;
    c->parent = (int)done;
    do { /* another run's reclaiming may catch it before the lock does */
        done = SYS(__NR_mkdirat, c->parent, name, 0755);
        if (done < 0 && done != -EEXIST) /* controllers that are mounted together share it */
            return done;
        done = open_locked(c->parent, name, 0);
    } while (done == -ENOENT || (done >= 0 && sys_lstatat(c->parent, name, &st) == -ENOENT && sys_close((int)done) == 0));
    c->folder = (int)done;
    return done;
}

static long write_file(const struct cgroup *c, const char *file, const char *value)
{
    int fd = sys_open(c->folder, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd;
    long n = sys_write(fd, value, text_length(value));
    sys_close(fd);
    return n < 0 ? n : 0;
}

static const struct cgroup *find(const struct plan *plan, const char *controller)
{
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        if (text_equal(plan->cgroups[i].controller, controller))
            return &plan->cgroups[i];
    return NULL;
}

bool cgroups_make(struct run *run, struct failure *f)
{
    struct plan *plan = run->plan;
    if (plan->cgroup_count == 0)
        return true;
    const char *name = make_name();
    char membership[MEMBERSHIP];
    TRY(f, STEP_CGROUP, plan->cgroups[0].line, read_membership(membership, sizeof membership));
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        TRY(f, STEP_CGROUP, plan->cgroups[i].line, make(&plan->cgroups[i], name, membership));
    return true;
}

bool cgroups_limit(const struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    for (unsigned i = 0; i < plan->setting_count; i++) {
        const struct setting *s = &plan->settings[i];
        long done = write_file(find(plan, s->controller), s->file, s->value);
        if (done == -ENOENT && !s->required)
            done = 0;
        TRY(f, STEP_CGROUP_SET, s->line, done);
    }
    return true;
}

bool cgroups_open(const struct run *run, struct gates *g, struct failure *f)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++) {
        const struct cgroup *c = &run->plan->cgroups[i];
        TRY(f, STEP_CGROUP, c->line, g->in[i] = sys_open(c->folder, "tasks", O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0));
        TRY(f, STEP_CGROUP, c->line, g->out[i] = sys_open(c->parent, "tasks", O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0));
    }
    return true;
}

/* On the jail's side, with the supervisor's right. A thread that moves itself, and nothing but itself, spares the
 * kernel the lock that all forks and exits share, and so a wait of milliseconds for every processor. */
static bool move(const struct run *run, const int *fds, struct failure *f)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++) {
        TRY(f, STEP_CGROUP_JOIN, run->plan->cgroups[i].line, sys_write(fds[i], "0", 1));
        sys_close(fds[i]);
    }
    return true;
}

bool cgroups_enter(const struct run *run, const struct gates *g, struct failure *f)
{
    return move(run, g->in, f);
}

bool cgroups_leave(const struct run *run, const struct gates *g, struct failure *f)
{
    return move(run, g->out, f);
}

void cgroups_reclaim(const struct run *run)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++)
        if (run->plan->cgroups[i].parent >= 0)
            reclaim(run->plan->cgroups[i].parent);
}

/* The number behind `key` in a file of "key number" lines, or the only number if key is ""; -1 if there is none. */
static int64_t read_number(const struct plan *plan, const char *controller, const char *file, const char *key)
{
    char text[1024];
    const struct cgroup *c = find(plan, controller);
    int fd = c ? sys_open(c->folder, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0) : -ENOENT;
    if (fd < 0)
        return -1;
    long n = sys_read(fd, text, sizeof text - 1);
    sys_close(fd);
    if (n <= 0)
        return -1;
    text[n] = 0;
    for (char *at = text, *end; *at; at = end) {
        for (end = at; *end && *end != '\n'; end++)
            ;
        if (*end)
            *end++ = 0;
        uint64_t value;
        size_t length = text_length(key);
        if (text_starts(at, key) && (!length || at[length] == ' ') &&
            text_number(at + length + (length > 0), 10, INT64_MAX, &value))
            return (int64_t)value;
    }
    return -1;
}

int64_t cgroups_cpu_us(const struct run *run)
{
    int64_t nanoseconds = read_number(run->plan, "cpuacct", "cpuacct.usage", "");
    return nanoseconds < 0 ? -1 : nanoseconds / 1000;
}

/* The parts are sampled at clock ticks, their sum is exact: it is divided as the samples are. */
static void read_cpu(const struct run *run, struct verdict *v)
{
    int64_t sum = cgroups_cpu_us(run);
    int64_t user = read_number(run->plan, "cpuacct", "cpuacct.stat", "user");
    int64_t system = read_number(run->plan, "cpuacct", "cpuacct.stat", "system");
    if (sum < 0 || user < 0 || system < 0)
        return;
    int64_t samples = user + system > 0 ? user + system : 1;
    v->system_us = sum / samples * system + sum % samples * system / samples;
    v->user_us = sum - v->system_us;
    v->cpu_counted = true;
}

void cgroups_read(const struct run *run, struct verdict *v)
{
    if (run->plan->cgroup_count == 0 || run->plan->cgroups[0].folder < 0)
        return; /* never made, or read and removed already */
    v->oom_kills = read_number(run->plan, "memory", "memory.oom_control", "oom_kill");
    v->pids_hit = read_number(run->plan, "pids", "pids.events", "max");
    read_cpu(run, v);
    if (run->outcome < 0)
        return; /* nobody asked for the rest */
    v->peak_memory = read_number(run->plan, "memory", "memory.max_usage_in_bytes", "");
    v->pids_peak = read_number(run->plan, "pids", "pids.peak", "");
}

void cgroups_remove(struct run *run)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++) {
        struct cgroup *c = &run->plan->cgroups[i];
        /* Busy until the kernel has let go of the last dead process; that takes no cooperation of the payload. */
        for (int tries = 0; c->parent >= 0 && tries < 500; tries++) {
            struct __kernel_timespec pause = {0, 2000000};
            if (SYS(__NR_unlinkat, c->parent, name_memory, REMOVE_FOLDER) != -EBUSY)
                break;
            SYS(__NR_ppoll, 0, 0, &pause, 0, 8);
        }
        if (c->folder >= 0)
            sys_close(c->folder);
        if (c->parent >= 0)
            sys_close(c->parent);
        c->folder = c->parent = -1;
    }
}
