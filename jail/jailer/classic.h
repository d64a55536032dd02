/* mount_setattr(2) by the classic mount(2), for kernels before 5.12. */
#ifndef PYJAIL_CLASSIC_H
#define PYJAIL_CLASSIC_H

#include "sys.h"

/* Make an attached mount private and give it FLAG_RO… of `flags`; with FLAG_REC, all mounts below it too, which are
 * found in /proc/self/mountinfo and opened inside `root`. Whatever a path leads to is restricted, or it is an error. */
long classic_restrict(int root, int mount, unsigned flags);

#endif
