/* The descriptors that come from the caller: which exist, which may pass, which are closed. */
#include "run.h"

int descriptors_sound(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (SYS(__NR_fcntl, fd, F_GETFD) >= 0)
            continue;
        /* The lowest free number is this one: all below exist by now. */
        int null = sys_open(AT_FDCWD, "/dev/null", O_RDWR, 0);
        if (null != fd)
            return null < 0 ? null : -EBADF;
    }
    return 0;
}

/* An open folder, or an O_PATH descriptor, would be a way out of the root: openat(fd, "..") asks nobody. */
static long passable(int fd)
{
    struct stat st;
    long flags = SYS(__NR_fcntl, fd, F_GETFL);
    if (flags < 0)
        return flags;
    if (sys_fstat(fd, &st) != 0)
        return -EBADF;
    return S_FORMAT(st.st_mode) == S_DIRECTORY || (flags & O_PATH) ? -EISDIR : 0;
}

static bool refused(struct failure *f, enum step step, int fd, long error)
{
    failed(f, step, 0, error);
    f->number = (uint32_t)fd;
    return false;
}

unsigned descriptors_insert(int *sorted, unsigned count, int fd)
{
    unsigned at = count;
    for (; at > 0 && sorted[at - 1] > fd; at--)
        sorted[at] = sorted[at - 1];
    sorted[at] = fd;
    return count + 1;
}

unsigned descriptors_sorted(const struct plan *plan, int *out)
{
    unsigned count = 0;
    while (count < plan->pass_fd_count)
        count = descriptors_insert(out, count, plan->pass_fds[count]);
    return count;
}

static long close_span(unsigned from, unsigned to)
{
    long done = SYS(__NR_close_range, from, to, 0);
    if (done != -ENOSYS)
        return done;
    for (unsigned fd = from; fd <= to && fd < 65536; fd++)
        sys_close((int)fd);
    return 0;
}

long descriptors_close_but(const int *keep, unsigned count, unsigned from)
{
    for (unsigned i = 0; i < count; i++) {
        if ((unsigned)keep[i] < from)
            continue;
        if ((unsigned)keep[i] > from) {
            long done = close_span(from, (unsigned)keep[i] - 1);
            if (done < 0)
                return done;
        }
        from = (unsigned)keep[i] + 1;
    }
    return close_span(from, ~0U);
}

bool descriptors_stdio(struct failure *f)
{
    for (int fd = 0; fd <= 2; fd++) {
        long bad = step_fault(STEP_STDIO) ? -EIO : passable(fd);
        if (bad)
            return refused(f, STEP_STDIO, fd, -bad);
    }
    return true;
}

/* Ours alone from here on; and if it cannot be written, that shall be known before the payload runs. */
static long claim(int fd)
{
    long flags = SYS(__NR_fcntl, fd, F_GETFL);
    if (flags < 0)
        return flags;
    if ((flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    long done = SYS(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC);
    return done < 0 ? done : fd;
}

bool descriptors_outcome(struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY;
    if (plan->outcome_file)
        TRY(f, STEP_OUTCOME, plan->outcome_line, run->outcome = sys_open(AT_FDCWD, plan->outcome_file, flags, 0666));
    if (plan->outcome_fd < 0)
        return true;
    long fd = step_fault(STEP_OUTCOME) ? -EIO : claim(plan->outcome_fd);
    if (fd < 0)
        return refused(f, STEP_OUTCOME, plan->outcome_fd, -fd);
    run->outcome = (int)fd;
    return true;
}

/* What the caller lives by: if the payload had it too, it could hold it open or end it. */
static long keep_to_ourselves(const struct plan *plan, int fd)
{
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        if (plan->pass_fds[i] == fd)
            return -EINVAL;
    return SYS(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC);
}

bool descriptors_check(const struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    int passed[MAX_FDS];
    if (!descriptors_stdio(f))
        return false;
    unsigned count = descriptors_sorted(plan, passed);
    for (unsigned i = 0; i < count; i++) {
        long bad = step_fault(STEP_PASS_FD) ? -EIO : passable(passed[i]);
        if (bad)
            return refused(f, STEP_PASS_FD, passed[i], -bad);
        if (passed[i] == run->outcome) /* or the payload could write its own outcome */
            return refused(f, STEP_PASS_FD, passed[i], plan->outcome_file ? EBADF : EINVAL);
    }
    const struct {
        int fd;
        enum step step;
    } ours[] = {{plan->life_fd, STEP_LIFE_FD}, {plan->control_fd, STEP_CONTROL_FD}};
    for (unsigned i = 0; i < COUNT(ours); i++) {
        if (ours[i].fd < 0)
            continue;
        long bad = step_fault(ours[i].step) ? -EIO : keep_to_ourselves(plan, ours[i].fd);
        if (bad < 0)
            return refused(f, ours[i].step, ours[i].fd, -bad);
    }
    return true;
}

bool descriptors_close_rest(const struct run *run, struct failure *f)
{
    const struct plan *plan = run->plan;
    int keep[MAX_FDS + 4];
    unsigned count = descriptors_sorted(plan, keep);
    if (run->outcome >= 0)
        count = descriptors_insert(keep, count, run->outcome);
    if (plan->life_fd >= 0)
        count = descriptors_insert(keep, count, plan->life_fd);
    if (plan->control_fd >= 0)
        count = descriptors_insert(keep, count, plan->control_fd);
    if (plan->small_fd >= 0)
        count = descriptors_insert(keep, count, plan->small_fd);
    TRY(f, STEP_DESCRIPTORS, 0, descriptors_close_but(keep, count, 3));
    return true;
}
