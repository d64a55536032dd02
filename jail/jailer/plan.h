/* A parsed plan: typed data, every string NUL-terminated inside the plan's own memory. See docs/plan.md. */
#ifndef PYJAIL_PLAN_H
#define PYJAIL_PLAN_H

#include "sys.h"
#include <linux/filter.h>

enum node_kind { NODE_TMPFS, NODE_BIND, NODE_PROC, NODE_DEVPTS, NODE_MASK, NODE_DIR, NODE_FILE, NODE_SYMLINK };

enum mount_flag {
    FLAG_RO = 1,
    FLAG_NOSUID = 2,
    FLAG_NODEV = 4,
    FLAG_NOEXEC = 8,
    FLAG_REC = 16,
    FLAG_OPTIONAL = 32,
    FLAG_OWNER = 64,
    FLAG_DEVICE = 128,
};

/* One step in building the root. `data` is a bind's source, a file system's options, a file's content or a
 * link's target; `tree` is the detached mount that a privileged supervisor prepared, or -1. */
struct node {
    enum node_kind kind;
    unsigned line, flags, mode;
    const char *target, *data;
    size_t data_length;
    int tree;
    bool folder; /* … what it shows is one */
};

struct limit {
    const char *name;
    unsigned resource, line;
    bool exact;
    uint64_t soft, hard;
};

/* The descriptors are open while the run lives, else -1. */
struct cgroup {
    unsigned version, line;
    const char *controllers, *mountpoint, *mountroot; /* controllers: a list with commas */
    int folder, parent; /* the run's own, and what that is in */
    int base;           /* version 2: what the parent is in */
    bool moved;         /* version 2: we have left the base for a leaf of it */
};

struct setting {
    const struct cgroup *cgroup;
    const char *controller, *file, *value;
    unsigned line;
    bool required;
};

struct rule {
    const char *path;
    unsigned line;
    bool writable;
};

struct variable {
    const char *text; /* NAME=VALUE, or NAME when the value is the caller's */
    bool pass;
};

struct pair {
    const char *name, *value;
};

struct dependency {
    const char *kind, *path, *fact[5];
};

/* What a limit on output counts: a descriptor by its number, or both together. */
enum output { OUTPUT_BOTH, OUTPUT_STDOUT, OUTPUT_STDERR, OUTPUTS };

/* Which system calls the supervisor hears of. */
enum audit { AUDIT_NOTHING, AUDIT_REFUSED, AUDIT_ALL };

#define MAX_LIMITS 16
#define MAX_CGROUPS 8
#define MAX_SCOPE 32
#define MAX_FDS 64
#define MAX_NAME 64
#define MAX_RULES 64
#define MAX_ENFORCED 64
#define MAX_DEPENDS 256
#define MAX_PROGRAM 4096
#define UNSET (-1)

struct plan {
    char *text; /* the file itself, fields unescaped in place */
    size_t text_size;
    void *memory;
    size_t memory_size;

    const char *key;

    bool has_ids, pool;
    unsigned uid, gid, pool_first, pool_count, ids_line;
    const char *pool_lock;

    bool own_network, has_network;
    const char *hostname, *cwd;
    const char *name; /* by which others find the run, or NULL */
    unsigned name_line;
    struct node *nodes;
    unsigned node_count;
    struct limit limits[MAX_LIMITS];
    unsigned limit_count;
    struct cgroup cgroups[MAX_CGROUPS];
    unsigned cgroup_count;
    struct cgroup freezer; /* version 1: made when it is needed, and then one of the others; else mountpoint is NULL */
    struct setting settings[MAX_LIMITS * 3];
    unsigned setting_count;
    const char *scope[MAX_SCOPE]; /* a command, see cgroup_scope.c */
    unsigned scope_count, scope_line;
    uint64_t capabilities;
    bool has_capabilities;
    struct rule rules[MAX_RULES];
    unsigned rule_count;
    bool landlock_required, has_landlock_need;
    const char *seccomp_name;
    struct sock_filter *program;
    unsigned program_count;
    enum audit audit;
    unsigned audit_line;
    int umask;
    struct variable *variables;
    unsigned variable_count;
    int pass_fds[MAX_FDS];
    unsigned pass_fd_count;
    int life_fd, control_fd; /* or UNSET */
    int small_fd;            /* no directive: a mount namespace to clone in (small.c), or UNSET */
    bool await_begin;
    int64_t timeout_ms, grace_ms, idle_ms, cpu_ms, max_output[OUTPUTS];
    unsigned cpu_line;
    bool stats;
    unsigned notify_line, listen_line, pty_line; /* 0: not asked for */
    int outcome_fd;
    const char *outcome_file;
    unsigned outcome_line;
    struct pair enforced[MAX_ENFORCED];
    unsigned enforced_count;
    const char **argv;
    unsigned argc;
    unsigned depend_count;
    struct dependency depends[MAX_DEPENDS]; /* the last: who has none pays for none */
};

struct plan_error {
    unsigned line;
    char text[256];
};

/* Parse `text` (size bytes, writable, at least size + 1 of room), which the plan then refers to. False: the error
 * is filled in and nothing has been done. The plan needs plan_release() in either case. */
bool plan_parse(struct plan *plan, char *text, size_t size, struct plan_error *error);

/* Read everything from fd and parse it. */
bool plan_read(struct plan *plan, int fd, struct plan_error *error);

/* The same of a text that has nothing but a command and its environment: lines argv and env. */
bool plan_read_command(struct plan *plan, int fd, struct plan_error *error);
void plan_release(struct plan *plan);

/* Whether what the plan was made from has not changed since. */
bool depends_hold(const struct plan *plan);

/* The cgroup with a controller, or NULL. */
const struct cgroup *plan_cgroup(const struct plan *plan, const char *controller);

/* Where the terminal is made: the first devpts, or NULL. */
const struct node *plan_devpts(const struct plan *plan);

/* What the plan's line is about, for messages: a target, a name; "" if nothing fits. */
const char *plan_object(const struct plan *plan, unsigned line);

#endif
