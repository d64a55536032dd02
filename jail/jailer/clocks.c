/* The supervisor's clocks: when the limits on time are reached, and what it next has to wake up for. */
#include "supervise.h"
#include <linux/time_types.h>

struct __kernel_timespec *next_alarm(const struct watch *w, struct __kernel_timespec *t)
{
    int64_t next = earlier(earlier(w->timeout_at, w->idle_at), earlier(w->cpu_at, earlier(w->oom_at, w->kill_at)));
    next = earlier(next, earlier(w->register_at, w->pause_at));
    next = earlier(next, w->ended ? w->leave_at : w->stragglers_at);
    if (next == NEVER)
        return NULL;
    int64_t left = next - clock_us();
    left = left < 0 ? 0 : left;
    t->tv_sec = left / 1000000;
    t->tv_nsec = left % 1000000 * 1000;
    return t;
}

static int64_t after(const struct run *run, int64_t milliseconds)
{
    return milliseconds == UNSET ? NEVER : run->start_us + milliseconds * 1000;
}

void start_clocks(struct watch *w)
{
    w->timeout_at = after(w->run, w->run->plan->timeout_ms);
    w->idle_at = after(w->run, w->run->plan->idle_ms);
    w->cpu_at = w->run->plan->cpu_ms == UNSET ? NEVER : 0;
}

/* What was taken until now, of time and of CPU time, has not been. */
void restart_clocks(struct watch *w)
{
    usage_cpu(w->run, &w->run->base_user_us, &w->run->base_system_us);
    w->run->start_us = clock_us();
    relay_touch(w->run);
    cputime_begin(w->run);
    start_clocks(w);
}
