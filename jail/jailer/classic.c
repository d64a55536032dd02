#include "classic.h"
#include "plan.h"
#include "text.h"
#include "tree.h"

#define REMOUNT (32 | 4096)            /* MS_REMOUNT | MS_BIND */
#define PRIVATE (1 << 18)              /* MS_PRIVATE */
#define ATTRIBUTES (FLAG_RO | FLAG_NOSUID | FLAG_NODEV | FLAG_NOEXEC) /* the numbers of mount(2) as well */
#define ATIME (1024 | 2048)            /* MS_NOATIME | MS_NODIRATIME, the same in statfs(2) */
#define STATFS_RELATIME 4096
#define RELATIME (1 << 21)
#define MAX_MOUNTS 512

static void descriptor_path(struct line *l, const char *folder, int fd)
{
    line_text(l, folder);
    line_number(l, (unsigned)fd, 10);
}

/* With the flags that the mount has already: a user namespace may not take away what came from outside. */
static long restrict_one(int mount, unsigned flags)
{
    unsigned long facts[16] = {0}; /* struct statfs: f_flags is the word at 10 */
    LINE(path, 40);
    long done = SYS(__NR_fstatfs, mount, facts);
    if (done < 0)
        return done;
    unsigned long has = facts[10];
    unsigned long want = (has & (ATTRIBUTES | ATIME)) | (has & STATFS_RELATIME ? RELATIME : 0) | (flags & ATTRIBUTES);
    descriptor_path(&path, "/proc/self/fd/", mount);
    done = SYS(__NR_mount, 0, path.data, 0, PRIVATE, 0);
    return done < 0 ? done : SYS(__NR_mount, 0, path.data, 0, REMOUNT | want, 0);
}

/* Read a number at *s up to `end`; the rest begins behind it. */
static bool take_number(char **s, char end, uint64_t *out)
{
    char *at = *s;
    while (*at && *at != end)
        at++;
    if (!*at)
        return false;
    *at = 0;
    bool good = text_number(*s, 10, INT32_MAX, out);
    *s = at + 1;
    return good;
}

static long mount_id(int fd)
{
    static const char field[] = "mnt_id:\t";
    char text[1024];
    uint64_t id;
    LINE(path, 48);
    descriptor_path(&path, "/proc/self/fdinfo/", fd);
    int info = sys_open(AT_FDCWD, path.data, O_RDONLY | O_CLOEXEC, 0);
    long n = info < 0 ? info : sys_read(info, text, sizeof text - 1);
    if (info >= 0)
        sys_close(info);
    if (n < 0)
        return n;
    text[n] = 0;
    for (char *at = text; *at; at++)
        if ((at == text || at[-1] == '\n') && text_starts(at, field)) {
            at += sizeof field - 1;
            return take_number(&at, '\n', &id) ? (long)id : -EIO;
        }
    return -EIO;
}

/* Undo the octal escapes of a mount point, which ends at a space. */
static bool unescape_point(char *point)
{
    char *to = point;
    for (; *point && *point != ' '; point++) {
        char c = *point;
        if (c == '\\') {
            if (!point[1] || !point[2] || !point[3])
                return false;
            c = (char)((point[1] - '0') << 6 | (point[2] - '0') << 3 | (point[3] - '0'));
            point += 3;
        }
        *to++ = c;
    }
    bool ended = *point == ' ';
    *to = 0;
    return ended;
}

/* Reads mountinfo line by line through a window, so that its length does not matter. */
struct reader {
    int fd;
    char text[8192];
    size_t used, line;
};

static char *next_line(struct reader *r)
{
    for (;;) {
        for (size_t i = r->line; i < r->used; i++)
            if (r->text[i] == '\n') {
                char *line = r->text + r->line;
                r->text[i] = 0;
                r->line = i + 1;
                return line;
            }
        memmove(r->text, r->text + r->line, r->used -= r->line);
        r->line = 0;
        long n = sys_read(r->fd, r->text + r->used, sizeof r->text - r->used);
        if (n <= 0)
            return NULL;
        r->used += (size_t)n;
    }
}

struct family {
    uint64_t id[MAX_MOUNTS];
    unsigned count;
};

static bool belongs(const struct family *f, uint64_t parent)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->id[i] == parent)
            return true;
    return false;
}

/* One line "ID PARENT MAJ:MIN ROOT POINT …": restrict it if its parent belongs to the family, and make it one. */
static long restrict_line(int root, char *line, struct family *f, unsigned flags)
{
    uint64_t id, parent;
    if (!take_number(&line, ' ', &id) || !take_number(&line, ' ', &parent))
        return -EIO;
    if (!belongs(f, parent))
        return 0;
    for (int fields = 0; fields < 2; line++)
        fields += *line == ' ';
    if (f->count == MAX_MOUNTS || !unescape_point(line))
        return -EOVERFLOW;
    int fd = tree_open(root, line, O_PATH);
    if (fd < 0)
        return fd;
    /* Another one's id: it lies hidden under that one, where no path leads and from where nobody inside can free it. */
    long found = mount_id(fd), done = found < 0 ? found : found == (long)id ? restrict_one(fd, flags) : 0;
    sys_close(fd);
    f->id[f->count++] = id;
    return done;
}

long classic_restrict(int root, int mount, unsigned flags)
{
    struct family f = {.count = 1};
    struct reader r = {.used = 0, .line = 0};
    long done = restrict_one(mount, flags), id = mount_id(mount);
    if (done < 0 || !(flags & FLAG_REC))
        return done;
    if (id < 0)
        return id;
    f.id[0] = (uint64_t)id;
    r.fd = sys_open(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY | O_CLOEXEC, 0);
    if (r.fd < 0)
        return r.fd;
    for (char *line; done >= 0 && (line = next_line(&r));)
        done = restrict_line(root, line, &f, flags); /* parents stand before their children */
    sys_close(r.fd);
    return done;
}
