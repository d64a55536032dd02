/* A run's life in its cgroups: one of version 2 for all the controllers there, one of version 1 for each hierarchy. */
#include "cgroup.h"
#include "text.h"
#include <linux/random.h>
#include <linux/time_types.h>

#define PREFIX "pyjail-"
#define LOCK_EXCLUSIVE 2
#define LOCK_AT_ONCE 4
#define REMOVE_FOLDER 0x200 /* AT_REMOVEDIR */
#define MOST_TRIES 1000

static char name[48]; /* the same in every hierarchy */

static void make_name(void)
{
    struct line text = {name, sizeof name, 0, false};
    uint32_t random = 0;
    SYS(__NR_getrandom, &random, sizeof random, GRND_NONBLOCK);
    line_text(&text, PREFIX);
    line_number(&text, (unsigned long)SYS_0(__NR_getpid), 10);
    line_char(&text, '-');
    line_number(&text, random, 16);
}

/* Open a run's cgroup and lock it: the lock is its supervisor's life sign, and ends with it however it ends. */
static long open_locked(int parent, const char *run, int at_once)
{
    long fd = sys_open(parent, run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    long done = fd < 0 ? fd : SYS(__NR_flock, fd, LOCK_EXCLUSIVE | at_once);
    if (fd >= 0 && done < 0)
        sys_close((int)fd);
    return done < 0 ? done : fd;
}

/* Whether the name still leads to what is open. As long as that is locked, only we remove it: so it stays true. A run
 * whose cgroup was taken for debris makes another of the same name. */
static bool is_there(int parent, const char *run, int fd)
{
    struct stat open, found;
    return sys_fstat(fd, &open) == 0 && sys_lstatat(parent, run, &found) == 0 && open.st_ino == found.st_ino;
}

/* Remove the cgroups of runs whose supervisor was killed. In version 2 whoever is left there ends now; in version 1
 * one with processes is busy and stays, but the frozen are thawed, and end. */
static void reclaim(const struct plan *plan, int parent)
{
    char entries[4096] __attribute__((aligned(8)));
    long n;
    while ((n = SYS(__NR_getdents64, parent, entries, sizeof entries)) > 0)
        for (long at = 0; at < n;) {
            const struct folder_entry *e = (const struct folder_entry *)(const void *)(entries + at);
            at += e->length;
            bool other = text_starts(e->name, PREFIX) && !text_equal(e->name, name);
            long fd = other ? open_locked(parent, e->name, LOCK_AT_ONCE) : -ENOENT;
            if (fd < 0)
                continue;
            cgroup_write_file((int)fd, "cgroup.kill", "1");
            if (is_there(parent, e->name, (int)fd) && cgroup_thaw_abandoned(plan, (int)fd, e->name))
                SYS(__NR_unlinkat, parent, e->name, REMOVE_FOLDER);
            sys_close((int)fd);
        }
}

static void let_go(struct cgroup *c)
{
    if (c->folder >= 0)
        sys_close(c->folder);
    c->folder = -1;
    if (c->version == 2)
        return cgroup_v2_leave(c);
    if (c->parent >= 0)
        sys_close(c->parent);
    c->parent = -1;
}

static long place(struct cgroup *c, const char *membership)
{
    return c->version == 2 ? cgroup_v2_place(c, membership) : (c->parent = (int)cgroup_open_own(c, membership));
}

/* The run's own cgroup. -ENODEV: it, or what it is in, was removed meanwhile, by another run that took it for debris
 * or was the last. */
static long make_folder(struct cgroup *c)
{
    struct stat st;
    long done = SYS(__NR_mkdirat, c->parent, name, 0755);
    if (done >= 0)
        done = c->folder = (int)open_locked(c->parent, name, 0);
    if (done >= 0 && sys_lstatat(c->parent, name, &st) == -ENOENT)
        done = -ENODEV;
    return done == -ENOENT ? -ENODEV : done;
}

long cgroup_make(struct cgroup *c, const char *membership)
{
    for (int tries = 0;; tries++) {
        long done = place(c, membership);
        if (done >= 0)
            done = make_folder(c);
        if (done >= 0)
            return done;
        let_go(c);
        if (done != -ENODEV || tries == MOST_TRIES)
            return done;
    }
}

/* A reason that another place would not have. */
static bool is_of_the_place(long error)
{
    return error == -EACCES || error == -EPERM || error == -EBUSY || error == -EOPNOTSUPP || error == -ENOENT;
}

static bool make_born(struct plan *plan, struct cgroup *c, struct failure *f)
{
    char membership[CGROUP_TEXT];
    TRY(f, STEP_CGROUP, c->line, cgroup_membership(membership));
    long done = cgroup_make(c, membership);
    if (is_of_the_place(done) && plan->scope_count) {
        if (!cgroup_scope(plan, name, membership, f))
            return false;
        done = cgroup_make(c, membership);
    }
    TRY(f, STEP_CGROUP, c->line, done);
    return true;
}

bool cgroups_prepare(struct run *run, struct failure *f)
{
    struct plan *plan = run->plan;
    if (plan->cgroup_count)
        make_name();
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        if (plan->cgroups[i].version == 2 && !make_born(plan, &plan->cgroups[i], f))
            return false;
    return true;
}

/* Nobody can enter a cpuset of version 1 that has no CPUs yet. All other settings have time until the payload runs. */
static bool opens(const struct setting *s)
{
    return s->cgroup->version == 1 && text_equal(s->controller, "cpuset");
}

static bool set(const struct plan *plan, bool to_open, struct failure *f)
{
    for (unsigned i = 0; i < plan->setting_count; i++) {
        const struct setting *s = &plan->settings[i];
        if (opens(s) != to_open)
            continue;
        long done = cgroup_write_file(s->cgroup->folder, s->file, s->value);
        if (done == -ENOENT && !s->required)
            done = 0;
        TRY(f, STEP_CGROUP_SET, s->line, done);
    }
    return true;
}

bool cgroups_make(struct run *run, struct failure *f)
{
    struct plan *plan = run->plan;
    static char own[CGROUP_TEXT];
    const char *membership = run->membership;
    if (plan->cgroup_count == 0)
        return true;
    if (!membership || cgroups_birthplace(run) >= 0) { /* which we may have moved for */
        TRY(f, STEP_CGROUP, plan->cgroups[0].line, cgroup_membership(own));
        membership = own;
    }
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        if (plan->cgroups[i].version == 1)
            TRY(f, STEP_CGROUP, plan->cgroups[i].line, cgroup_make(&plan->cgroups[i], membership));
    return set(plan, true, f);
}

int cgroups_birthplace(const struct run *run)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++)
        if (run->plan->cgroups[i].version == 2)
            return run->plan->cgroups[i].folder;
    return -1;
}

bool cgroups_limit(const struct run *run, struct failure *f)
{
    return set(run->plan, false, f);
}

void cgroups_kill(const struct run *run)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++)
        if (run->plan->cgroups[i].version == 2 && run->plan->cgroups[i].folder >= 0)
            cgroup_write_file(run->plan->cgroups[i].folder, "cgroup.kill", "1"); /* since Linux 5.14 */
}

/* The file and key of a number in version 1 and in version 2. */
struct counter {
    const char *file[2], *key[2];
};

static int64_t count(const struct cgroup *c, const struct counter *what)
{
    return c ? cgroup_number(c->folder, what->file[c->version - 1], what->key[c->version - 1]) : -1;
}

/* What is read in the end; the first two always, the others if somebody asks. */
enum { OOM_KILLS, PIDS_REFUSED, WITHOUT_ASKING, PEAK_MEMORY = WITHOUT_ASKING, MOST_PIDS };

static const struct {
    const char *controller;
    struct counter what;
} finals[FINALS] = {[OOM_KILLS] = {"memory", {{"memory.oom_control", "memory.events"}, {"oom_kill", "oom_kill"}}},
                    [PIDS_REFUSED] = {"pids", {{"pids.events", "pids.events"}, {"max", "max"}}},
                    [PEAK_MEMORY] = {"memory", {{"memory.max_usage_in_bytes", "memory.peak"}, {"", ""}}},
                    [MOST_PIDS] = {"pids", {{"pids.peak", "pids.peak"}, {"", ""}}}};

static unsigned finals_wanted(const struct run *run)
{
    return run->outcome < 0 && !run->plan->stats ? WITHOUT_ASKING : FINALS;
}

/* While nobody waits for it. Where there is no room for all, none stays open: each can be opened when it is read. */
static void open_finals(struct run *run)
{
    bool room = true;
    for (unsigned i = 0; i < finals_wanted(run); i++) {
        const struct cgroup *c = plan_cgroup(run->plan, finals[i].controller);
        if (c && c->folder >= 0)
            run->finals[i] = cgroup_open_file(c->folder, finals[i].what.file[c->version - 1]);
        room &= run->finals[i] != -EMFILE;
    }
    for (unsigned i = 0; i < FINALS && !room; i++) {
        if (run->finals[i] >= 0)
            sys_close(run->finals[i]);
        run->finals[i] = -1;
    }
}

static int64_t final(const struct run *run, unsigned i)
{
    const struct cgroup *c = plan_cgroup(run->plan, finals[i].controller);
    if (!c || c->folder < 0 || run->finals[i] < 0)
        return count(c, &finals[i].what);
    return cgroup_number_in(run->finals[i], finals[i].what.key[c->version - 1]);
}

void cgroups_tend(struct run *run)
{
    if (run->tended)
        return;
    run->tended = true;
    run->oom_event = cgroups_oom_event(run);
    open_finals(run);
    for (unsigned i = 0; i < run->plan->cgroup_count; i++)
        if (run->plan->cgroups[i].parent >= 0)
            reclaim(run->plan, run->plan->cgroups[i].parent);
}

/* What has been removed, and was read before, keeps its value. */
static void keep(int64_t *value, int64_t now)
{
    *value = now < 0 ? *value : now;
}

int64_t cgroups_oom_kills(const struct run *run)
{
    return final(run, OOM_KILLS);
}

/* Version 2 counts CPU time in every cgroup, whatever its controllers. */
static const struct cgroup *timekeeper(const struct run *run)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++)
        if (run->plan->cgroups[i].version == 2)
            return &run->plan->cgroups[i];
    return plan_cgroup(run->plan, "cpuacct");
}

static const struct counter cpu_usage = {{"cpuacct.usage", "cpu.stat"}, {"", "usage_usec"}};

long cgroups_watch_cpu(struct run *run)
{
    const struct cgroup *c = timekeeper(run);
    long done = c ? run->cpu_usage = cgroup_open_file(c->folder, cpu_usage.file[c->version - 1]) : -ENOENT;
    return done >= 0 && cgroups_cpu_us(run) < 0 ? -ENOENT : done;
}

int64_t cgroups_cpu_us(const struct run *run)
{
    const struct cgroup *c = timekeeper(run);
    bool open = run->cpu_usage >= 0;
    int64_t value = open ? cgroup_number_in(run->cpu_usage, cpu_usage.key[c->version - 1]) : count(c, &cpu_usage);
    return value >= 0 && c->version == 1 ? value / 1000 : value;
}

/* Version 1 samples the parts at clock ticks and counts the sum exactly: it is divided as the samples are. */
bool cgroups_cpu(const struct run *run, int64_t *user_us, int64_t *system_us)
{
    static const struct counter users = {{"cpuacct.stat", "cpu.stat"}, {"user", "user_usec"}},
        kernels = {{"cpuacct.stat", "cpu.stat"}, {"system", "system_usec"}};
    const struct cgroup *c = timekeeper(run);
    int64_t sum = cgroups_cpu_us(run), user = count(c, &users), system = count(c, &kernels);
    if (sum < 0 || user < 0 || system < 0)
        return false;
    int64_t samples = user + system > 0 ? user + system : 1;
    *system_us = sum / samples * system + sum % samples * system / samples;
    *user_us = sum - *system_us;
    return true;
}

void cgroups_read(const struct run *run, struct verdict *v)
{
    const struct cgroup *pids = plan_cgroup(run->plan, "pids");
    keep(&v->oom_kills, final(run, OOM_KILLS));
    keep(&v->pids_hit, final(run, PIDS_REFUSED));
    v->cpu_counted |= cgroups_cpu(run, &v->user_us, &v->system_us);
    if (finals_wanted(run) == WITHOUT_ASKING)
        return;
    keep(&v->peak_memory, final(run, PEAK_MEMORY));
    int64_t together = final(run, MOST_PIDS);
    keep(&v->pids_peak, together > 0 && pids->version == 2 ? together - 1 : together); /* without init */
}

void cgroups_remove(struct run *run, bool init_lives)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++) {
        struct cgroup *c = &run->plan->cgroups[i];
        if (init_lives && c->version == 2)
            continue; /* init was born there */
        /* Busy until the kernel has let go of the last dead process; that takes no cooperation of the payload. */
        for (int tries = 0; c->folder >= 0 && tries < 500; tries++) {
            struct __kernel_timespec pause = {0, 2000000};
            if (SYS(__NR_unlinkat, c->parent, name, REMOVE_FOLDER) != -EBUSY)
                break;
            SYS(__NR_ppoll, 0, 0, &pause, 0, 8);
        }
        let_go(c);
    }
}
