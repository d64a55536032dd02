/* CPU time of all processes that the jail ever had, from its cgroup: a chain of forks cannot dodge it. The kernel has no
 * alarm for it, so the supervisor looks: not before the limit can be reached, and never closer than a hundredth of it. */
#include "run.h"
#include "text.h"

#define LEAST_PAUSE_US 1000
#define PRECISION 100

/* All that a process of the jail may choose to run on: our own affinity binds none of them. */
static unsigned processors(void)
{
    static unsigned count;
    unsigned long own[16] = {0}, all[16];
    if (count)
        return count;
    count = 64 * COUNT(all);
    long size = SYS(__NR_sched_getaffinity, 0, sizeof own, own);
    memset(all, 0xff, sizeof all);
    if (size <= 0 || SYS(__NR_sched_setaffinity, 0, sizeof all, all) < 0)
        return count;
    memset(all, 0, sizeof all);
    SYS(__NR_sched_getaffinity, 0, sizeof all, all);
    SYS(__NR_sched_setaffinity, 0, size, own);
    count = 0;
    for (unsigned i = 0; i < 64 * COUNT(all); i++)
        count += all[i / 64] >> i % 64 & 1;
    return count ? count : 1;
}

/* Version 2 has counted the making of the jail as well, by which nobody shall lose time. */
void cputime_begin(struct run *run)
{
    int64_t used = run->plan->cpu_ms == UNSET ? 0 : cgroups_cpu_us(run);
    run->cpu_base_us = used < 0 ? 0 : used;
}

/* When to look again; 0 if the time is used up, INT64_MAX if nothing is left to be counted. */
int64_t cputime_next(const struct run *run)
{
    int64_t limit = run->plan->cpu_ms * 1000, used = cgroups_cpu_us(run);
    if (used < 0)
        return INT64_MAX;
    used -= run->cpu_base_us;
    if (used >= limit)
        return 0;
    int64_t least = limit / PRECISION / processors(), pause = (limit - used) / processors();
    least = least < LEAST_PAUSE_US ? LEAST_PAUSE_US : least;
    return clock_us() + (pause < least ? least : pause);
}
