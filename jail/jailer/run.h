/* One run: what the supervisor prepares before the clone and the jail's side finds in its copy of the memory. */
#ifndef PYJAIL_RUN_H
#define PYJAIL_RUN_H

#include "plan.h"
#include "step.h"
#include "sys.h"

/* The ways into this run's cgroups of version 1, and back into the caller's. Init leaves again, so that the cgroups
 * are empty, and can be removed, before init and the namespaces have come to their end. */
struct gates {
    int in[MAX_CGROUPS], out[MAX_CGROUPS];
};

/* What a run has besides its plan: further words, variables that come before the plan's of the same name, and the
 * caller's environment, for those that are passed on. */
struct command {
    char **words, **variables, **environment;
    size_t word_count, variable_count;
    const char *membership; /* what /proc/self/cgroup has just said, or NULL */
};

#define FINALS 4 /* what cgroups tell of a run in the end */

struct run {
    struct plan *plan;
    char **argv, **environment; /* of the payload */
    const char *command;
    const char *runtime;     /* the caller's XDG_RUNTIME_DIR, or NULL */
    const char *membership;  /* of struct command */

    int executable;          /* ourselves, O_PATH: what init is executed from */
    int control[2];          /* [0] supervisor, [1] init: orders one way, the payload's end the other */
    int errors[2];           /* a pipe for one struct failure; EOF when the payload runs */
    int signals;             /* signalfd of the supervisor */
    int outcome;             /* where the outcome line goes, or -1 */
    int id_lock;             /* holds this run's host id as long as a process of the run has it open, or -1 */
    unsigned host_uid, host_gid;

    bool opens_sources;      /* the jail's side does, with its own rights, as an ordinary user's always does */
    int pid, init;           /* the jail's init: pid and pidfd in the supervisor */
    struct gates gates;      /* on the jail's side */
    int manager;             /* the service manager's socket, where it is to be told how things go, or -1 */
    const char *listen_fds, *listen_names; /* what the payload is told of the sockets that it gets, or NULL */
    char listen_pid[24];
    int handover[2];         /* of a jail that is made ahead of its command: [0] supervisor, [1] payload; else -1 */
    struct identity *seen;   /* … what its nodes' sources were then; else NULL */
    int listener, payload;   /* of an audited run: where its calls are heard, or -1; the payload's pid in the jail */
    int64_t start_us;
    int64_t cpu_base_us;     /* CPU time that the jail had taken when the payload began */
    bool tended;             /* cgroups_tend was called */
    int oom_event;           /* … and this tells that memory has run out; -1 where nothing does */
    int finals[FINALS];      /* … and these are open, the files of what is read in the end; else -1 */
    int cpu_usage;           /* tells the CPU time, where that is limited; else -1 */
    bool begun;              /* the run's clocks were restarted by request */
    bool forced;             /* all of the jail was killed by us */
    int64_t base_user_us, base_system_us; /* CPU time that was taken before that */
};

/* A file, the mount on which it was found, and its owner, to whom an idmapped mount is bound; or why not. */
struct identity {
    uint64_t mount, inode;
    uint32_t major, minor, uid, gid;
    int64_t error;
};

/* Of output, as many causes as there are limits on it. */
enum cause { BY_ITSELF, BY_TIMEOUT, BY_IDLE_TIMEOUT, BY_CPU_TIME, BY_MEMORY, BY_OUTPUT, BY_STDOUT, BY_STDERR };

/* A ruleset in the making, -1 for none; what it handles, for which ABI. */
struct landlock {
    int ruleset;
    long abi;
    uint64_t handled;
};

#define LANDLOCK_TRUNCATE 3 /* the first ABI that knows of truncate(2) */

/* What became of it, as the kernel and the clock tell; nothing the payload wrote. */
struct verdict {
    struct failure failure;  /* step STEP_NONE if the payload was executed */
    bool known;              /* wait_status is the payload's */
    int wait_status;
    enum cause cause;        /* why the supervisor ended it: the first reason counts */
    bool asked_to_end;       /* by the caller's SIGTERM */
    bool killed;             /* the payload, by us with all of the jail: nothing was known of its end by then */
    bool killed_by_policy;   /* the payload, by us for the audited policy */
    bool cpu_counted;        /* user_us and system_us are the cgroup's, which no process can dodge */
    bool no_room, no_files;  /* a writable folder in memory was full in the end */
    int64_t wall_us, user_us, system_us;
    int64_t peak_memory, oom_kills, pids_peak, pids_hit; /* -1: nothing measures it here; pids_hit: refused forks */
};

enum ending {
    EXITED_NORMALLY,
    SIGNALED,
    TIMED_OUT,
    IDLE_TIMED_OUT,
    CPU_EXCEEDED,
    OUT_OF_MEMORY,
    OUTPUT_EXCEEDED,
    KILLED,
    SETUP_FAILED
};

#define EXITED(status) (((status)&0x7f) == 0)
#define EXIT_CODE(status) ((status) >> 8 & 0xff)
#define SIGNAL_OF(status) ((status)&0x7f)

#define MOST_HIT 8
#define MANAGER_VARIABLES 3

/* Whom an order is for: as kill(2) tells them apart, one process, its group, or all of the jail; a further command; one
 * that init is to execute (exec.h); or those that it is to bring into the freezer (cgroup_freezer.c). */
enum whom { THE_PAYLOAD, ITS_GROUP, EVERYONE, A_COMMAND, NEW_COMMAND, THE_UNFROZEN };

/* Control messages: supervisor to init. */
struct order {
    int32_t signal;
    uint32_t whom;
    uint32_t command; /* the supervisor's number for it */
};

/* All other messages. To the jail's side: the word to go on: first when the ids are mapped, with the id lock; then when
 * the cgroups are made, with the gates; last, to init, when their limits are set; and between the first two the trees of
 * the bind nodes from `first` up to `end`, all of which are there. To the supervisor: the writable folders in memory; that the
 * network is made; from init, how the payload ended; that no process of the jail but init is left; and, where it was
 * told to, that it has stopped; from the payload's helper, the listener of an audited run. Before that, where the payload has a
 * terminal, both sides of it. Of a further command, that it is in the run's cgroups, why it could not be executed, and
 * its end. How many it has found outside of the freezer. */
enum parcel_kind {
    PARCEL_TREES,
    PARCEL_GO,
    PARCEL_SCRATCH,
    PARCEL_NETWORK,
    PARCEL_FAREWELL,
    PARCEL_GONE,
    PARCEL_STOPPED,
    PARCEL_LISTENER,
    PARCEL_PTY,
    PARCEL_COMMAND_ENTERED,
    PARCEL_COMMAND_FAILED,
    PARCEL_COMMAND_ENDED,
    PARCEL_GATHERED
};

#define CHANNEL_FDS 128

struct parcel {
    uint32_t kind, first, end;
    uint64_t folders[CHANNEL_FDS / 64]; /* which of the trees show one, from the first on */
    bool none; /* the supervisor may not open any: the jail's side is to try */
    uint32_t bare; /* the trees lack their attributes: the kernel is too old (classic.c) */
    int32_t wait_status;
    int32_t payload; /* its pid in the jail */
    uint32_t command;
    int32_t outside; /* or a negative errno */
    struct failure failure;
    int64_t user_us, system_us;
    bool helper;     /* init has it for a child besides the payload, and is to await its end */
};

/* Descriptors of init after its exec, the only ones it has. */
enum { INIT_CONTROL = 3, INIT_READY = 4, INIT_ID_LOCK = 5 };
#define INIT_NAME "pyjail-init"

/* Fill in a failure; always false, so that a step can return it. */
bool failed(struct failure *f, enum step step, unsigned line, long error);

/* A call that returns a negative errno ends the function; under fault injection, without being made. */
#define TRY(failure_, step_, line_, call)                                    \
    do {                                                                     \
        long try_ = step_fault(step_) ? -EIO : (long)(call);                 \
        if (try_ < 0)                                                        \
            return failed(failure_, step_, line_, -try_);                    \
    } while (0)

/* run.c: the whole of it; returns the exit status. */
int execute(struct plan *plan, const struct command *c);
struct run run_of(struct plan *plan);
struct verdict no_verdict(void);
bool begin_signals(struct run *run, struct failure *f);
void call_off(struct run *run, struct failure *f); /* what was launched, as far as it was */
int conclude(struct run *run, struct verdict *v);  /* the exit status */
struct rusage;
void bury(struct run *run, struct rusage *usage);  /* wait for init's end, once */

/* descriptors.c */
int descriptors_sound(void);                                    /* 0, 1, 2 exist; 0 or -errno */
bool descriptors_stdio(struct failure *f);                      /* refuse folders as 0, 1, 2 */
bool descriptors_outcome(struct run *run, struct failure *f);   /* open or take over where the outcome goes */
bool descriptors_check(const struct run *run, struct failure *f); /* what comes from the caller is fit to be used */
bool descriptors_close_rest(const struct run *run, struct failure *f); /* what nobody asked for */
long descriptors_close_but(const int *keep, unsigned count, unsigned from); /* keep[] sorted */
unsigned descriptors_insert(int *sorted, unsigned count, int fd); /* the new count */
unsigned descriptors_sorted(const struct plan *plan, int *out); /* pass_fds in order; room for MAX_FDS */

/* command.c */
bool command_prepare(struct run *run, const struct command *c, struct failure *f);

/* ids.c */
bool ids_reserve(struct run *run, struct failure *f);
void ids_release(struct run *run);
bool ids_map(struct run *run, struct failure *f);
int ids_owner_namespace(unsigned uid, unsigned gid, unsigned host_uid, unsigned host_gid); /* fd or -errno */

/* cgroup.c */
bool cgroups_prepare(struct run *run, struct failure *f); /* that of version 2, before the clone */
int cgroups_birthplace(const struct run *run);            /* … its descriptor for clone3, or -1 */
bool cgroups_make(struct run *run, struct failure *f);    /* those of version 1 */
bool cgroups_limit(const struct run *run, struct failure *f);
void cgroups_tend(struct run *run); /* once: hear of the end of memory; remove those of runs that were killed */
void cgroups_kill(const struct run *run);    /* everyone in them, where the kernel can */
int64_t cgroups_oom_kills(const struct run *run); /* so far */
int64_t cgroups_cpu_us(const struct run *run); /* CPU time of all processes ever; -1 if no cgroup counts it */
long cgroups_watch_cpu(struct run *run); /* so that whatever else is opened cannot be in the way of that; negative is an errno */
bool cgroups_cpu(const struct run *run, int64_t *user_us, int64_t *system_us); /* the same in two parts */
void cgroups_read(const struct run *run, struct verdict *v);
void cgroups_remove(struct run *run, bool init_lives); /* those of version 2 only without init */

/* cgroup_v1.c */
unsigned cgroups_gated(const struct plan *plan); /* how many gates either way */
bool cgroups_open(const struct run *run, struct gates *g, struct failure *f);
bool cgroups_enter(const struct run *run, const struct gates *g, struct failure *f); /* the caller itself */
bool cgroups_leave(const struct run *run, const struct gates *g, struct failure *f);
int cgroups_oom_event(const struct run *run);

/* cgroup_freezer.c */
long cgroups_freezable(struct run *run); /* makes what it takes in version 1; 0, or -ENODEV: the jail has none */
int cgroups_thaw_file(const struct run *run); /* version 1: to write THAWED to, by whoever outlives us; -1: no need */
long cgroups_freeze(const struct run *run);
bool cgroups_gathers(const struct run *run); /* version 1: all of the jail has to be brought there first */
long cgroups_gather(const struct run *run);  /* … by init, which says how many were outside: none, when all are there */
int32_t cgroup_gather(const int *fds, unsigned count); /* … and does it */
long cgroups_frozen(const struct run *run); /* 1: all who are there are; 0: not yet; version 1 has to be asked again */
long cgroups_thaw(const struct run *run);

/* sources.c */
void source_identify(int fd, const char *path, struct identity *found);
bool sources_open(struct run *run, struct failure *f);  /* supervisor, when privileged */
bool sources_send(struct run *run, struct failure *f);  /* … to the jail's side */
int source_tree(struct run *run, struct node *n, struct failure *f); /* there; -1 if it is absent, and may be */

/* root.c */
bool root_build(struct run *run, struct failure *f);

/* channel.c: at most CHANNEL_FDS descriptors a message */
long channel_send(int channel, const void *data, size_t size, const int *fds, unsigned count);
long channel_receive(int channel, void *data, size_t size, int *fds, unsigned *count); /* waits for a message */
long channel_hear(int channel, void *data, size_t size, int *fds, unsigned *count);    /* -EAGAIN if there is none */

/* spawn.c */
long spawn(unsigned long flags, void *stack_top, int *tid, void (*act)(void *), void *argument);

/* small.c: of no use, and a negative errno, to whoever may not mount */
int small_make(void);               /* its descriptor */
long small_enter(int small);        /* for a clone; in the child there is no way back */
long small_leave(void);
void small_forget_home(void);

/* network.c */
bool network_begin(struct run *run, struct failure *f);
bool network_join(struct run *run, struct failure *f);

/* relay.c: does nothing where the plan has no limit on output and no pty */
bool relay_wanted(const struct plan *plan);
bool relay_make(struct run *run, struct failure *f);  /* before the clone */
bool relay_enter(struct run *run, struct failure *f); /* the jail's side */
bool relay_start(struct run *run, struct failure *f); /* in the supervisor, after the clone */
int relay_event(void);                                /* readable when there is news; -1 without a relay */
void relay_hear(void);
enum cause relay_exceeded(void);                      /* BY_ITSELF as long as no limit was */
bool relay_hung_up(void);                             /* nobody is left at the other side of the payload's terminal */
bool relay_done(void);                                /* all output has been passed on, or nobody takes it */
int64_t relay_idle_since(void);
void relay_touch(const struct run *run);              /* as if there had been output when the clocks were started */
void relay_end(void);
void relay_connect(int terminal);                     /* our side of the payload's, or -1: it has none */

/* pty.c: does nothing where the plan has none */
bool pty_open(struct run *run, struct failure *f);    /* the jail's side */
bool pty_control(const struct run *run, struct failure *f); /* the payload itself: its session or group */
bool pty_take(const struct run *run, const int *fds, unsigned count, struct failure *f); /* the supervisor */
bool pty_missing(const struct run *run);              /* … has not got it yet */
bool pty_heed(int signal, bool from_terminal);        /* whether the signal was for the terminal */
void pty_resume(void);
void pty_say_end(void);
void pty_leave(void);

/* terminal.c: the caller's, in the supervisor */
struct winsize;
bool terminal_find(const struct run *run, struct failure *f); /* before the clone */
long terminal_liken(int pty);                         /* the jail's side */
void terminal_size(struct winsize *size);
void terminal_raw(void);
void terminal_restore(void);
bool terminal_gone(void);

/* manager.c: each does nothing where the plan does not ask for it */
bool manager_sockets(struct run *run, char **envp, struct failure *f); /* adds to what is passed */
size_t manager_environment(struct run *run, char **out);               /* how many; room for MANAGER_VARIABLES */
void manager_payload_pid(struct run *run);                             /* in the payload */
bool manager_connect(struct run *run, char **envp, struct failure *f);
bool manager_waits(void); /* for the manager to read, with what it is to be told next */
void manager_tell(const struct run *run);
void manager_ready(const struct run *run);
void manager_stopping(const struct run *run);
void manager_ended(const struct run *run, const struct verdict *v);

/* scratch.c: the writable folders in memory */
bool scratch_send(struct run *run, struct failure *f); /* the jail's side */
void scratch_keep(const int *fds, unsigned count);     /* the supervisor, once */
void scratch_read(struct verdict *v);

/* cputime.c */
void cputime_begin(struct run *run); /* the payload runs */
int64_t cputime_next(const struct run *run);

/* launch.c, supervise.c, outcome.c, stats.c */
bool launch(struct run *run, struct failure *f);
bool may_run(const struct run *run); /* nothing that the supervisor has to hear or serve is missing */
bool let_go_of_streams(const struct run *run, struct failure *f); /* the payload has them */
long say_go(const struct run *run, bool helper, const int *fds, unsigned count);
void supervise(struct run *run, struct verdict *v);
enum ending outcome_ending(const struct run *run, const struct verdict *v);
const char *outcome_name(enum ending ending);
unsigned outcome_limits_hit(const struct run *run, const struct verdict *v, const char **names); /* room for MOST_HIT */
int outcome_status(const struct run *run, const struct verdict *v); /* exit status */
int64_t outcome_cpu_us(int64_t used, int64_t base); /* since the run's clocks were started */
long outcome_write(const struct run *run, const struct verdict *v);
void stats_write(const struct run *run, const struct verdict *v);

/* child.c, payload.c, init.c: the jail's side; none returns */
__attribute__((noreturn)) void child(struct run *run);
long payload_execute(struct run *run); /* -errno */
long payload_start(struct run *run, int ready); /* a process that shares this memory until its execve; its pid */
__attribute__((noreturn)) void init_main(int payload_pid);
__attribute__((noreturn)) void give_up(int errors, const struct failure *f, int status);

/* standby.c, standby_payload.c: a jail that is made ahead of its command */
int stand_by(struct plan *plan, int channel, int caller);
/* The payload's wait for its command, and the one for the word that it may begin; none in any other jail. `filtered`: it
 * has loaded the filter while it waited. */
bool standby_wait(struct run *run, const struct landlock *l, bool *filtered, struct failure *f);
bool standby_begin(const struct run *run, struct failure *f);

/* confine.c: on the calling process */
bool confine_bounding_set(uint64_t keep, struct failure *f);
bool confine_capabilities(uint64_t keep, struct failure *f);
enum limits { LIMITS_AHEAD = 1, LIMITS_LATE = 2, LIMITS_ALL = 3 };
bool confine_limits(const struct plan *plan, enum limits which, struct failure *f);
bool confine_landlock_prepare(const struct plan *plan, struct landlock *l, struct failure *f);
bool confine_landlock(const struct plan *plan, const struct landlock *l, struct failure *f); /* the rest of it */
bool confine_seccomp(const struct plan *plan, struct failure *f);

/* signals.c */
int signals_take(void);                   /* block the ones we handle; a signalfd or -errno */
void signals_serve(void);                 /* block all, and have the kernel reap the children */
void signals_reset(void);                 /* default dispositions */
void signals_unblock(void);
void signals_before_death(void (*act)(void)); /* by any signal that we do not take */

/* run.c */
int64_t clock_us(void);

#endif
