/* What a running jail uses now. */
#include "cgroup.h"
#include "peers.h"

static int64_t number_of(const struct cgroup *c, const char *version1, const char *version2)
{
    return c ? cgroup_number(c->folder, c->version == 1 ? version1 : version2, "") : -1;
}

static int64_t above(int64_t value, int64_t base)
{
    return value < 0 ? -1 : value > base ? value - base : 0;
}

/* The numbers behind a word, over all devices. */
static int64_t transferred(const struct run *run, const char *version1, const char *version2)
{
    char text[4096];
    const struct cgroup *one = plan_cgroup(run->plan, "blkio"), *two = plan_cgroup(run->plan, "io");
    const struct cgroup *c = one ? one : two;
    const char *word = c == one ? version1 : version2, *file = c == one ? "blkio.throttle.io_service_bytes" : "io.stat";
    int64_t sum = 0;
    if (!c || c->folder < 0 || cgroup_read_file(c->folder, file, text, sizeof text) < 0)
        return -1;
    for (const char *at = text; *at; at++) {
        int64_t value = 0;
        const char *digit = at + text_length(word) + (c == one); /* version 1 parts the two */
        for (; text_starts(at, word) && *digit >= '0' && *digit <= '9'; digit++)
            value = value * 10 + (*digit - '0');
        sum += value;
    }
    return sum;
}

/* Init is one of those that version 2 counts. */
static int64_t without_init(const struct cgroup *c, int64_t count)
{
    return c && c->version == 2 && count > 0 ? count - 1 : count;
}

void usage_cpu(const struct run *run, int64_t *user_us, int64_t *system_us)
{
    struct usage seen = {0};
    if (cgroups_cpu(run, user_us, system_us))
        return;
    usage_of_processes((unsigned)run->pid, &seen);
    *user_us = seen.user_us;
    *system_us = seen.system_us;
}

void usage_read(const struct run *run, struct usage *u)
{
    const struct cgroup *memory = plan_cgroup(run->plan, "memory"), *pids = plan_cgroup(run->plan, "pids");
    struct usage seen;
    bool counted = cgroups_cpu(run, &u->user_us, &u->system_us);
    bool known = (counted && pids) || usage_of_processes((unsigned)run->pid, &seen);
    if (!counted) {
        u->user_us = known ? seen.user_us : -1;
        u->system_us = known ? seen.system_us : -1;
    }
    u->user_us = above(u->user_us, run->base_user_us);
    u->system_us = above(u->system_us, run->base_system_us);
    u->memory = number_of(memory, "memory.usage_in_bytes", "memory.current");
    u->peak_memory = number_of(memory, "memory.max_usage_in_bytes", "memory.peak");
    u->pids = pids || !known ? without_init(pids, number_of(pids, "pids.current", "pids.current")) : seen.pids;
    u->pids_peak = without_init(pids, number_of(pids, "pids.peak", "pids.peak"));
    u->read = transferred(run, "Read", "rbytes=");
    u->written = transferred(run, "Write", "wbytes=");
}

static void name(struct line *l, const char *text)
{
    line_char(l, l->used ? ',' : '{');
    line_json(l, text);
    line_char(l, ':');
}

static void count(struct line *l, const char *text, int64_t value)
{
    name(l, text);
    if (value < 0)
        line_text(l, "null");
    else
        line_number(l, (uint64_t)value, 10);
}

static void seconds(struct line *l, const char *text, int64_t microseconds)
{
    name(l, text);
    if (microseconds < 0)
        line_text(l, "null");
    else
        line_seconds(l, (uint64_t)microseconds);
}

void usage_write(struct line *l, const struct run *run)
{
    struct usage u;
    usage_read(run, &u);
    seconds(l, "wall_seconds", clock_us() - run->start_us);
    seconds(l, "cpu_user_seconds", u.user_us);
    seconds(l, "cpu_system_seconds", u.system_us);
    count(l, "memory_bytes", u.memory);
    count(l, "peak_memory_bytes", u.peak_memory);
    count(l, "pids", u.pids);
    count(l, "pids_peak", u.pids_peak);
    count(l, "io_read_bytes", u.read);
    count(l, "io_write_bytes", u.written);
    line_char(l, '}');
}
