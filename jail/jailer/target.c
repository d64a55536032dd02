/* Targets: found or made inside the root, never through a link that leads out of it. */
#include "target.h"
#include "text.h"
#include "tree.h"

/* The folders in which the last targets were made. Most of a root is small things in a few folders: to look these up
 * each time would be half of the work. None of them is ever covered: what is mounted somewhere lies on a target that was
 * just made in one of them, or they are all forgotten. */
static struct kept {
    int fd;
    const char *path; /* as the plan has it */
    size_t length;
} kept[8];
static unsigned kept_count, kept_next;

void targets_forget(void)
{
    while (kept_count > 0)
        sys_close(kept[--kept_count].fd);
    kept_next = 0;
}

static void keep(int fd, const char *path, size_t length)
{
    if (kept_count < COUNT(kept))
        kept_next = kept_count++;
    else
        sys_close(kept[kept_next = (kept_next + 1) % COUNT(kept)].fd);
    kept[kept_next] = (struct kept){fd, path, length};
}

static int find_kept(const char *path, size_t length)
{
    for (unsigned i = 0; i < kept_count; i++)
        if (kept[i].length == length && memcmp(kept[i].path, path, length) == 0)
            return kept[i].fd;
    return -1;
}

/* A name without slashes behind it, which ends a path of n bytes. */
static long copy_name(const char *name, const char *end, char out[NAME_ROOM])
{
    size_t n = (size_t)(end - name);
    if (n >= NAME_ROOM)
        return -ENAMETOOLONG;
    memcpy(out, name, n);
    out[n] = 0;
    return 0;
}

static long open_folder(int root, const char *path, size_t n);

/* Of the first n bytes of path. */
static long parent_of(int root, const char *path, size_t n, char name[NAME_ROOM])
{
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t at = n;
    while (at > 1 && path[at - 1] != '/')
        at--;
    long done = copy_name(path + at, path + n, name);
    if (done < 0)
        return done;
    while (at > 1 && path[at - 1] == '/')
        at--;
    int there = find_kept(path, at);
    if (there >= 0)
        return there;
    long fd = open_folder(root, path, at);
    if (fd >= 0)
        keep((int)fd, path, at);
    return fd;
}

/* Open the folder that is the first n bytes of path, making it and those above it where they are missing. */
static long open_folder(int root, const char *path, size_t n)
{
    char copy[4096], name[NAME_ROOM];
    if (n >= sizeof copy)
        return -ENAMETOOLONG;
    memcpy(copy, path, n);
    copy[n] = 0;
    long fd = tree_open(root, copy, O_PATH | O_DIRECTORY);
    if (fd != -ENOENT)
        return fd;
    long parent = parent_of(root, path, n, name);
    if (parent < 0)
        return parent;
    long done = SYS(__NR_mkdirat, parent, name, 0755);
    /* A dangling link may stand there; the open tells. */
    return done < 0 && done != -EEXIST ? done : tree_open(root, copy, O_PATH | O_DIRECTORY);
}

long target_parent(int root, const char *path, char name[NAME_ROOM])
{
    return parent_of(root, path, text_length(path), name);
}

/* What was just made is found again by its name in its folder, where a link in its place would not be followed. What was
 * there already is taken as it is, and may be one of those that are kept, or what leads to them. */
long target_make(int root, const char *path, bool folder, unsigned mode, struct target *t)
{
    long parent = target_parent(root, path, t->name), done = parent;
    if (done >= 0)
        done = folder ? SYS(__NR_mkdirat, parent, t->name, mode)
                      : SYS(__NR_mknodat, parent, t->name, S_REGULAR | mode, 0);
    if (done >= 0) {
        t->at = (int)parent;
        t->own = false;
        return 0;
    }
    int there = tree_open(root, path, O_PATH);
    if (there < 0)
        return there == -ENOENT ? done : there;
    targets_forget();
    t->at = there;
    t->own = true;
    t->name[0] = 0;
    return 0;
}

void target_done(struct target *t)
{
    if (t->own)
        sys_close(t->at);
    t->own = false;
}
