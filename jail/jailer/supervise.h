/* What the supervisor knows while it waits, for the parts that it is made of. */
#ifndef PYJAIL_SUPERVISE_H
#define PYJAIL_SUPERVISE_H

#include "peers.h"
#include "run.h"

#define NEVER INT64_MAX

enum state { RUNS, IS_PAUSING, IS_PAUSED };

struct watch {
    struct run *run;
    struct verdict *verdict;
    int64_t timeout_at, idle_at, cpu_at, oom_at, kill_at;
    int64_t register_at;
    int64_t pause_at, freeze_at, pause_until; /* to look whether all of it is frozen; to begin anew; to give up */
    enum state state;
    bool freezing; /* told the kernel to */
    int64_t leave_at; /* whoever has not taken the output by then does not get it */
    int64_t stragglers_at; /* init was killed and has not ended by then */
    int oom_looks;
    bool gone;    /* all but init, which is about to end */
    bool ended;   /* the jail: init has, or all others */
    bool silent;  /* init has closed its end */
    bool speechless; /* nobody is left who could make a call */
    bool started; /* the payload runs, or never will */
    bool failed;  /* it never will */
    bool stopping; /* asked to by the terminal, and not to go on since */
};

static inline int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* supervise.c */
void end_now(struct watch *w, enum cause cause);

/* clocks.c */
struct __kernel_timespec *next_alarm(const struct watch *w, struct __kernel_timespec *t); /* NULL: there is none */
void start_clocks(struct watch *w);

/* stragglers.c: kill all of the jail but init */
void stragglers_kill(const struct run *run);

/* pause.c */
void check_pause(struct watch *w);
void pause_gathered(struct watch *w, int outside); /* by init */
void wake_jail(struct watch *w); /* if it is paused: it is to end */
void pause_end(void);

/* memory.c: the end of memory, which the kernel tells in version 1 */
void check_memory(struct watch *w);
void hear_memory(struct watch *w);
int watch_memory(struct watch *w);

#endif
