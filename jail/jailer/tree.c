#include "tree.h"
#include "classic.h"
#include "step.h"
#include "text.h"
#include <linux/mount.h>
#include <linux/openat2.h>

#define ATTRIBUTES (FLAG_RO | FLAG_NOSUID | FLAG_NODEV | FLAG_NOEXEC)
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#define PROPAGATION_PRIVATE (1 << 18) /* MS_PRIVATE */

_Static_assert(FLAG_RO == MOUNT_ATTR_RDONLY && FLAG_NOSUID == MOUNT_ATTR_NOSUID && FLAG_NODEV == MOUNT_ATTR_NODEV &&
                   FLAG_NOEXEC == MOUNT_ATTR_NOEXEC,
               "a plan's flags are the kernel's attributes");

/* As in linux/mount.h of 5.12; older headers lack it. */
struct attributes {
    uint64_t set, clear, propagation, userns_fd;
};

/* Known from the first try: Linux 5.6 to 5.11 have detached mounts, but no attributes for them. */
static bool bare;

bool tree_bare(void)
{
    return bare;
}

void tree_set_bare(void)
{
    bare = true;
}

static long set_attributes(int mount, unsigned flags, int owners)
{
    struct attributes a = {.set = flags & ATTRIBUTES, .propagation = PROPAGATION_PRIVATE};
    if (owners >= 0) {
        a.set |= MOUNT_ATTR_IDMAP;
        a.userns_fd = (uint64_t)owners;
    }
    int recursive = flags & FLAG_REC ? AT_RECURSIVE : 0;
    return fault_lacks("mount_setattr") ? -ENOSYS
                                        : SYS(__NR_mount_setattr, mount, "", AT_EMPTY_PATH | recursive, &a, sizeof a);
}

static long keep_or_close(long fd, long done)
{
    if (fd >= 0 && done < 0)
        sys_close((int)fd);
    return done < 0 ? done : fd;
}

int tree_find(const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS};
    return (int)SYS(__NR_openat2, AT_FDCWD, path, &how, sizeof how);
}

int tree_open(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)SYS(__NR_openat2, root, path, &how, sizeof how);
}

int tree_clone(int fd, unsigned flags, int owners)
{
    unsigned how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (flags & FLAG_REC ? AT_RECURSIVE : 0);
    long tree = SYS(__NR_open_tree, fd, "", how);
    long done = tree < 0 ? tree : set_attributes((int)tree, flags, owners);
    if (done == -ENOSYS && tree >= 0 && owners < 0) {
        bare = true;
        done = 0;
    }
    return (int)keep_or_close(tree, done);
}

/* Hand "key=value,flag" to the new file system, item by item. */
static long configure(int fs, const char *options)
{
    char copy[512];
    size_t n = text_length(options);
    if (n >= sizeof copy)
        return -E2BIG;
    memcpy(copy, options, n + 1);
    for (char *key = copy, *next; *key; key = next) {
        char *value = NULL, *end = key;
        for (; *end && *end != ','; end++)
            if (*end == '=' && !value) {
                *end = 0;
                value = end + 1;
            }
        next = *end ? end + 1 : end;
        *end = 0;
        long done = SYS(__NR_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
        if (done < 0)
            return done;
    }
    return SYS(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
}

int tree_make(const char *type, const char *options, unsigned flags)
{
    long fs = SYS(__NR_fsopen, type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return (int)fs;
    long done = configure((int)fs, options);
    if (done == 0)
        done = SYS(__NR_fsmount, fs, FSMOUNT_CLOEXEC, flags & ATTRIBUTES);
    sys_close((int)fs);
    return (int)done;
}

long tree_attach(int root, int tree, int at, const char *name, unsigned flags)
{
    unsigned how = MOVE_MOUNT_F_EMPTY_PATH | (*name ? 0 : MOVE_MOUNT_T_EMPTY_PATH);
    long done = SYS(__NR_move_mount, tree, "", at, name, how);
    return done < 0 || !bare ? done : classic_restrict(root, tree, flags);
}

long tree_restrict(int root, int mount, unsigned flags)
{
    long done = set_attributes(mount, flags & ~(unsigned)FLAG_REC, -1);
    return done == -ENOSYS ? classic_restrict(root, mount, flags & ~(unsigned)FLAG_REC) : done;
}
