/* Whether what a plan was made from is still what it was: its `depends` lines, for those who keep plans. */
#include "plan.h"
#include "sys.h"
#include "text.h"

static const char *kind_of(unsigned mode)
{
    switch (S_FORMAT(mode)) {
    case S_REGULAR:
        return "file";
    case S_DIRECTORY:
        return "dir";
    case S_SYMLINK:
        return "symlink";
    default:
        return "other";
    }
}

/* The plan's number, in the same form as ours would have; `-` is a fact that does not count. */
static bool same(const char *fact, int64_t value)
{
    LINE(l, 24);
    line_signed(&l, value);
    return text_equal(fact, "-") || text_equal(fact, l.data);
}

static bool same_time(const char *fact, int64_t seconds, int64_t nanoseconds)
{
    int64_t value;
    if (__builtin_mul_overflow(seconds, 1000000000, &value) || __builtin_add_overflow(value, nanoseconds, &value))
        return false;
    return same(fact, value);
}

static bool holds(const struct dependency *d)
{
    struct stat st;
    int error = sys_lstatat(AT_FDCWD, d->path, &st);
    if (text_equal(d->kind, "absent"))
        return error == -ENOENT || error == -ENOTDIR;
    return error == 0 && text_equal(d->kind, kind_of(st.st_mode)) && same(d->fact[0], (int64_t)st.st_dev) &&
           same(d->fact[1], (int64_t)st.st_ino) && same(d->fact[2], (int64_t)st.st_size) &&
           same_time(d->fact[3], (int64_t)st.st_mtime, (int64_t)st.st_mtime_nsec) &&
           same_time(d->fact[4], (int64_t)st.st_ctime, (int64_t)st.st_ctime_nsec);
}

bool depends_hold(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->depend_count; i++)
        if (!holds(&plan->depends[i]))
            return false;
    return true;
}
