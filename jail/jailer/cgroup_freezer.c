/* Freezing all of a jail. In version 2 its own cgroup does that, init included, and who is killed there dies. In version
 * 1 it takes a cgroup of another hierarchy, which is made when the jail is first paused. The processes that are there by
 * then are moved into it by init, each frozen on arrival, again and again until nobody new was born meanwhile;
 * whoever is born in it stays in it. Init stays outside: frozen, it could not die of a killed supervisor. */
#include "cgroup.h"
#include "text.h"

#define AT_ONCE_US 20000 /* after which init looks after all else */
#define REMOVE_FOLDER 0x200 /* AT_REMOVEDIR */

static const struct cgroup *freezer_of(const struct run *run)
{
    for (unsigned i = 0; i < run->plan->cgroup_count; i++)
        if (run->plan->cgroups[i].version == 2)
            return &run->plan->cgroups[i];
    return plan_cgroup(run->plan, "freezer");
}

long cgroups_freezable(struct run *run)
{
    struct plan *plan = run->plan;
    char membership[CGROUP_TEXT];
    if (freezer_of(run))
        return 0;
    if (!plan->freezer.mountpoint || plan->cgroup_count == 0 || plan->cgroup_count == MAX_CGROUPS)
        return -ENODEV;
    long done = cgroup_membership(membership);
    if (done >= 0)
        done = cgroup_make(&plan->freezer, membership);
    if (done >= 0)
        plan->cgroups[plan->cgroup_count++] = plan->freezer;
    return done < 0 ? -ENODEV : 0;
}

static long set(const struct run *run, const char *version_1, const char *version_2)
{
    const struct cgroup *c = freezer_of(run);
    if (!c || c->folder < 0)
        return -ESRCH;
    return c->version == 1 ? cgroup_write_file(c->folder, "freezer.state", version_1)
                           : cgroup_write_file(c->folder, "cgroup.freeze", version_2);
}

long cgroups_freeze(const struct run *run)
{
    return set(run, "FROZEN", "1");
}

long cgroups_thaw(const struct run *run)
{
    return set(run, "THAWED", "0");
}

int cgroups_thaw_file(const struct run *run)
{
    const struct cgroup *c = freezer_of(run);
    return c && c->version == 1 ? sys_open(c->folder, "freezer.state", O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0) : -1;
}

/* The members of a cgroup, in order as version 1 has them. */
struct members {
    int fd;
    long at, size;
    char text[4096];
};

/* 0: there are no more. */
static uint64_t next_member(struct members *m)
{
    for (uint64_t pid = 0;;) {
        if (m->at == m->size) {
            m->at = 0;
            m->size = m->fd < 0 ? 0 : sys_read(m->fd, m->text, sizeof m->text);
        }
        if (m->size <= 0) {
            m->at = m->size;
            return 0;
        }
        char c = m->text[m->at++];
        if (c == '\n')
            return pid;
        pid = pid * 10 + (unsigned)(c - '0');
    }
}

enum { OF_JAIL, IN_FREEZER, DOOR, GATHERED };

/* Move whoever of the jail is not in the freezer; how many there were, so far. Each move waits for all processors, so that
 * a list of processes that come and go is old after the first: when one has ended, it takes a new one. Of a list out of
 * order too many would seem to be outside, and never too few. */
int32_t cgroup_gather(const int *fds, unsigned count)
{
    if (count != GATHERED)
        return -EMFILE; /* the payload has lowered our limit on descriptors */
    struct members all = {.fd = fds[OF_JAIL]}, in = {.fd = fds[IN_FREEZER]};
    int64_t until = clock_us() + AT_ONCE_US;
    int32_t outside = 0;
    for (uint64_t pid, inside = 0; (pid = next_member(&all)) > 0;) {
        LINE(text, 24);
        while (inside < pid && (inside = next_member(&in)) > 0)
            ;
        if (inside == pid)
            continue;
        if (!inside)
            inside = UINT64_MAX;
        line_number(&text, pid, 10);
        outside++;
        if (sys_write(fds[DOOR], text.data, text.used) < 0 || clock_us() >= until)
            break;
    }
    return outside;
}

bool cgroups_gathers(const struct run *run)
{
    const struct cgroup *c = freezer_of(run);
    return c && c->version == 1 && c != &run->plan->cgroups[0];
}

static int open_members(const struct cgroup *c, int how)
{
    return sys_open(c->folder, "cgroup.procs", how | O_CLOEXEC | O_NOFOLLOW, 0);
}

/* Init's numbers are those of the jail. By ours one could be moved who is none of it: who was on the list may have ended
 * since, and somebody of the host have got his number. */
long cgroups_gather(const struct run *run)
{
    const struct cgroup *c = freezer_of(run), *jail = &run->plan->cgroups[0];
    struct order o = {.whom = THE_UNFROZEN};
    int fds[] = {[OF_JAIL] = open_members(jail, O_RDONLY), [IN_FREEZER] = open_members(c, O_RDONLY),
                 [DOOR] = open_members(c, O_WRONLY)};
    bool there = fds[OF_JAIL] >= 0 && fds[IN_FREEZER] >= 0 && fds[DOOR] >= 0;
    long done = there ? channel_send(run->control[0], &o, sizeof o, fds, GATHERED) : -ESRCH;
    for (unsigned i = 0; i < GATHERED; i++)
        if (fds[i] >= 0)
            sys_close(fds[i]);
    return done == -EPIPE || done == -ECONNRESET ? -ESRCH : done;
}

long cgroups_frozen(const struct run *run)
{
    const struct cgroup *c = freezer_of(run);
    char state[16];
    if (!c || c->folder < 0)
        return -ESRCH;
    if (c->version == 2)
        return cgroup_number(c->folder, "cgroup.events", "frozen") == 1;
    cgroups_freeze(run); /* again: who slept in the kernel when he was moved may not have been frozen */
    long n = cgroup_read_file(c->folder, "freezer.state", state, sizeof state);
    return n < 0 ? n : n > 0 && text_equal(state, "FROZEN\n");
}

bool cgroup_thaw_abandoned(const struct plan *plan, int folder, const char *name)
{
    char membership[CGROUP_TEXT];
    cgroup_write_file(folder, "freezer.state", "THAWED"); /* where both are one hierarchy */
    if (!plan->freezer.mountpoint || cgroup_membership(membership) < 0)
        return true;
    long parent = cgroup_open_own(&plan->freezer, membership);
    if (parent < 0)
        return true;
    int frozen = sys_open((int)parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (frozen >= 0) {
        cgroup_write_file(frozen, "freezer.state", "THAWED");
        sys_close(frozen);
    }
    long done = SYS(__NR_unlinkat, parent, name, REMOVE_FOLDER);
    sys_close((int)parent);
    return done != -EBUSY;
}
