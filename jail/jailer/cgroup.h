/* What the parts of the cgroup code share. cgroup.c is a run's life in its cgroups; the other files are what it needs
 * of the two versions. */
#ifndef PYJAIL_CGROUP_H
#define PYJAIL_CGROUP_H

#include "run.h"

#define CGROUP_TEXT 16384 /* of /proc/self/cgroup, or of one file of a cgroup */

/* cgroup_file.c: one file below an open folder. Negative is an errno. */
int cgroup_open_file(int folder, const char *file);
long cgroup_read_file(int folder, const char *file, char *text, size_t size); /* its length; ends in NUL */
long cgroup_write_file(int folder, const char *file, const char *value);
/* The number behind `key` in a file of "key number" lines, or the only number if key is ""; -1 if there is none. */
int64_t cgroup_number(int folder, const char *file, const char *key);
int64_t cgroup_number_in(int file, const char *key); /* which is open */
/* The next word of a list that commas, spaces or newlines part; its length, 0 at the end. */
size_t cgroup_word(const char **list);
bool cgroup_lists(const char *list, const char *word, size_t length);

/* The caller's own cgroup, opened, or a negative errno. `membership` is what /proc/self/cgroup says. */
long cgroup_membership(char membership[CGROUP_TEXT]);
long cgroup_open_own(const struct cgroup *c, const char *membership);

/* cgroup.c: make the run's own, and open it. */
long cgroup_make(struct cgroup *c, const char *membership);

/* cgroup_freezer.c: see to it that the cgroup of a killed supervisor's run, open as `folder`, is not frozen. False:
 * somebody is still in what had frozen it. */
bool cgroup_thaw_abandoned(const struct plan *plan, int folder, const char *name);

/* cgroup_v2.c: fill in c->parent, in which runs have their cgroups and hand their controllers down to them. */
long cgroup_v2_place(struct cgroup *c, const char *membership);
void cgroup_v2_leave(struct cgroup *c); /* and remove what the place needed, if no other run does */

/* cgroup_scope.c: to where we may make cgroups, by the plan's command. */
bool cgroup_scope(const struct plan *plan, const char *name, char membership[CGROUP_TEXT], struct failure *f);

#endif
