/* What the directive handlers share: the line being parsed, refusals, checked fields. */
#ifndef PYJAIL_PLAN_FIELDS_H
#define PYJAIL_PLAN_FIELDS_H

#include "plan.h"

#define MAX_FIELDS 7

struct parse {
    struct plan *plan;
    struct plan_error *error;
    const char *word; /* the directive */
    unsigned line, count;
    char *memory; /* what is left of the plan's memory for variable-sized data */
};

struct directive {
    const char *word;
    unsigned least, most;
    bool once;
    bool (*take)(struct parse *p, char **fields);
};

bool parse_lines(struct plan *plan, char *text, size_t size, struct plan_error *error,
                 const struct directive *directives, size_t count);

/* What no line by itself is wrong about. */
bool plan_complete(struct plan *plan, struct plan_error *error);

/* Read everything from fd, and parse it. */
bool plan_take(struct plan *plan, int fd, struct plan_error *error,
               bool (*parse)(struct plan *, char *, size_t, struct plan_error *));

/* Fill in the error; always false, so that a handler can return it. */
bool refuse(struct parse *p, const char *why, const char *what);

bool number(struct parse *p, const char *s, unsigned base, uint64_t max, uint64_t *out);
bool absolute(struct parse *p, const char *path);
bool inside(struct parse *p, const char *target);    /* an absolute path below /, without . or .. */
bool plain_name(struct parse *p, const char *name);  /* a file name: no slash, not . or .. */
char *take_memory(struct parse *p, size_t size);

/* What a directive's fields mean; f[0] is the first behind the word. */
#define HANDLER(name) bool name(struct parse *p, char **f)

HANDLER(take_mount);
HANDLER(take_mask);
HANDLER(take_dir);
HANDLER(take_file);
HANDLER(take_symlink);
HANDLER(take_rlimit);
HANDLER(take_cgroup);
HANDLER(take_cgroup_set);
HANDLER(take_freezer);
HANDLER(take_scope);
HANDLER(take_capabilities);
HANDLER(take_landlock);
HANDLER(take_landlock_need);
HANDLER(take_seccomp);
HANDLER(take_audit);

#endif
