/* What may be asked of a supervisor while its jail runs, and what it tells: docs/plan.md. */
#ifndef PYJAIL_PEERS_H
#define PYJAIL_PEERS_H

#include "run.h"
#include "text.h"
#include <linux/poll.h>
#include <linux/seccomp.h>

#define MAX_PEERS 32

struct watch;

/* peers.c: who may ask, by their connections. */
void peers_open(const struct run *run);                  /* the caller's, if the plan names it */
void peers_listen(int socket);                           /* for others */
unsigned peers_watch(struct pollfd *wait, bool started); /* what to wait for; how many, at most MAX_PEERS */
bool peers_owe(void);                                    /* … and for room in init's channel */
void peers_serve(struct watch *w, struct run *run, const struct pollfd *wait, unsigned count);
void peers_hear_command(const struct run *run, const struct parcel *said);
bool peers_entering(void); /* whether a command that was asked for may not be in the run's cgroups yet */
void peers_tell_paused(long error); /* those who have asked for it; 0: it is */

/* To all who have asked for events; `more` are further members of the object, each behind a comma. */
void event_tell(const struct run *run, const char *name, const char *more);
void event_exited(const struct run *run, int wait_status);
void event_denied(const struct run *run, const struct seccomp_data *call);

/* registry.c: where others find the run; the descriptor of a connection, or -errno */
bool registry_enter_named(struct run *run, struct failure *f); /* at the start, if the plan has a name */
void registry_enter(const struct run *run);
void registry_leave(void);
const char *registry_name(void);
int registry_accept(int listener);

/* usage.c: since the run's clocks were started; -1 for what nothing measures here. */
struct usage {
    int64_t user_us, system_us, memory, peak_memory, pids, pids_peak, read, written;
};
void usage_read(const struct run *run, struct usage *u);
void usage_cpu(const struct run *run, int64_t *user_us, int64_t *system_us); /* of these alone, and from the very start */
void usage_write(struct line *l, const struct run *run);
bool usage_of_processes(unsigned init, struct usage *u); /* usage_proc.c */

/* supervise.c, clocks.c: what a request does to the run. */
void end_by_force(struct watch *w);
bool signal_jail(struct watch *w, int signal); /* false if it has ended */
void restart_clocks(struct watch *w);

/* pause.c */
long pause_jail(struct watch *w);  /* 0: it is paused; 1: peers_tell_paused will tell; -errno */
long resume_jail(struct watch *w); /* 0, also where it was not paused; -errno */
const char *jail_state(const struct watch *w);

/* outcome.c: of a further command */
struct ended {
    const char *command; /* its first word */
    struct failure failure;
    int wait_status;
    int64_t wall_us, user_us, system_us;
};
void outcome_of_command(struct line *l, const struct run *run, const struct ended *e);

#endif
