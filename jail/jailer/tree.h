/* Detached mounts: made from a file system or cloned from a path, given their attributes, attached by descriptor. */
#ifndef PYJAIL_TREE_H
#define PYJAIL_TREE_H

#include "plan.h"

/* Open a host path without following the links of /proc that stand for open files; -errno. */
int tree_find(const char *path);

/* A detached clone of what `fd` refers to, private, with FLAG_RO|NOSUID|NODEV|NOEXEC of `flags` set on it (FLAG_REC:
 * and on all mounts below it), and mapped by the user namespace `owners` if that is not -1. */
int tree_clone(int fd, unsigned flags, int owners);

/* Whether clones lack their attributes, for want of mount_setattr(2), and tree_attach must give them. */
bool tree_bare(void);
void tree_set_bare(void);

/* A new mount of a file system with options "key=value,flag". */
int tree_make(const char *type, const char *options, unsigned flags);

/* Attach a detached mount, made with these flags, inside `root`: on top of a name in the folder `at`, which is not followed
 * if it is a link, or with an empty name of what `at` refers to. */
long tree_attach(int root, int tree, int at, const char *name, unsigned flags);

/* Set FLAG_RO… on a mount that is attached. */
long tree_restrict(int root, int mount, unsigned flags);

/* Open a path inside the root, links and .. confined to it. */
int tree_open(int root, const char *path, int flags);

#endif
