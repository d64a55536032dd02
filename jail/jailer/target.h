/* Targets: where the nodes of the root go. */
#ifndef PYJAIL_TARGET_H
#define PYJAIL_TARGET_H

#include "sys.h"

#define NAME_ROOM 256

/* A name in a folder, or what is open itself, with an empty name. */
struct target {
    int at;
    bool own; /* `at` is ours to close */
    char name[NAME_ROOM];
};

/* The folder above a path, made where it is missing, and the path's last name. The folder is not the caller's to
 * close. */
long target_parent(int root, const char *path, char name[NAME_ROOM]);

/* Make it, as a folder or an empty file, unless there is something already; target_done() it then. */
long target_make(int root, const char *path, bool folder, unsigned mode, struct target *t);
void target_done(struct target *t);

/* Close what was kept open. */
void targets_forget(void);

#endif
