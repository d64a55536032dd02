/* The small files that cgroups are made of. */
#include "cgroup.h"
#include "text.h"

int cgroup_open_file(int folder, const char *file)
{
    return sys_open(folder, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
}

long cgroup_read_file(int folder, const char *file, char *text, size_t size)
{
    int fd = cgroup_open_file(folder, file);
    long n = fd < 0 ? fd : sys_read(fd, text, size - 1);
    if (fd >= 0)
        sys_close(fd);
    text[n < 0 ? 0 : n] = 0;
    return n;
}

long cgroup_write_file(int folder, const char *file, const char *value)
{
    int fd = sys_open(folder, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd;
    long n = sys_write(fd, value, text_length(value));
    sys_close(fd);
    return n < 0 ? n : 0;
}

int64_t cgroup_number_in(int file, const char *key)
{
    char text[2048];
    size_t length = text_length(key);
    long n = SYS(__NR_pread64, file, text, sizeof text - 1, 0);
    if (n <= 0)
        return -1;
    text[n] = 0;
    for (char *at = text, *end; *at; at = end) {
        for (end = at; *end && *end != '\n'; end++)
            ;
        if (*end)
            *end++ = 0;
        uint64_t value;
        if (text_starts(at, key) && (!length || at[length] == ' ') &&
            text_number(at + length + (length > 0), 10, INT64_MAX, &value))
            return (int64_t)value;
    }
    return -1;
}

int64_t cgroup_number(int folder, const char *file, const char *key)
{
    int fd = folder < 0 ? -1 : cgroup_open_file(folder, file);
    if (fd < 0)
        return -1;
    int64_t value = cgroup_number_in(fd, key);
    sys_close(fd);
    return value;
}

static bool parts(char c)
{
    return c == ',' || c == ' ' || c == '\n';
}

size_t cgroup_word(const char **list)
{
    size_t n = 0;
    while (parts(**list))
        (*list)++;
    while ((*list)[n] && !parts((*list)[n]))
        n++;
    return n;
}

bool cgroup_lists(const char *list, const char *word, size_t length)
{
    for (size_t n; (n = cgroup_word(&list)) > 0; list += n)
        if (n == length && memcmp(list, word, n) == 0)
            return true;
    return false;
}

long cgroup_membership(char membership[CGROUP_TEXT])
{
    return cgroup_read_file(AT_FDCWD, "/proc/self/cgroup", membership, CGROUP_TEXT);
}

/* The path of a line "ID:CONTROLLERS:PATH" that has the cgroup's first controller, or, in version 2, none; NULL. */
static char *own_path(char *text, const struct cgroup *c)
{
    const char *wanted = c->controllers;
    size_t length = cgroup_word(&wanted);
    for (char *at = text, *end; *at; at = end) {
        for (end = at; *end && *end != '\n'; end++)
            ;
        if (*end)
            *end++ = 0;
        char *first = at, *second;
        while (*first && *first != ':')
            first++;
        for (second = *first ? first + 1 : first; *second && *second != ':'; second++)
            ;
        if (!*second)
            continue;
        *second = 0;
        if (c->version == 2 ? text_equal(at, "0:") : cgroup_lists(first + 1, wanted, length))
            return second + 1;
    }
    return NULL;
}

long cgroup_open_own(const struct cgroup *c, const char *membership)
{
    static char text[CGROUP_TEXT];
    LINE(path, 4096);
    memcpy(text, membership, text_length(membership) + 1);
    const char *own = own_path(text, c);
    if (!own)
        return -ENOENT;
    /* In a container the mount shows a part of the hierarchy only; our path counts from its beginning. */
    if (!text_equal(c->mountroot, "/") && text_starts(own, c->mountroot))
        own += text_length(c->mountroot);
    line_text(&path, c->mountpoint);
    line_text(&path, own);
    return path.full ? -ENAMETOOLONG : sys_open(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}
