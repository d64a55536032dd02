/* The installed `pyjail` command: a cached plan runs at once, everything else goes to Python. */
#ifndef PYJAIL_FRONT_H
#define PYJAIL_FRONT_H

#include "plan.h"
#include "text.h"

int front(int argc, char **argv, char **envp);

/* What selects a plan, and the name of the file that would hold it. An empty `text`: nothing can be cached. */
struct front_key {
    struct line text; /* one field each, escaped, spaces between */
    char name[17];
    const char *membership; /* /proc/self/cgroup, which takes long to read */
};

/* Fill in the key of `words`, those before the first `--`. */
void front_key(struct front_key *key, int count, char **words);

/* Load the plan stored under the key, if there is one that holds in every respect. Any doubt is a miss. */
bool front_lookup(const struct front_key *key, char **envp, struct plan *plan);

#endif
