/* Pausing, by request: all of the jail is frozen (cgroup_freezer.c), while its clocks run on. A paused jail ends as any
 * other, since whatever is to end it has it thawed; nothing of it runs before the kill that was sent first. */
#include "supervise.h"
#include <asm/signal.h>

#define LOOK_AGAIN_US 1000
#define LONGEST_US 4000000 /* for all of the jail to be frozen */
#define ANEW_US 100000

static struct {
    int pid, line; /* line: it hears our end by that of this pipe */
} guard;

__attribute__((noreturn)) static void watch_over(int line, int state)
{
    int keep[2] = {line < state ? line : state, line < state ? state : line};
    uint64_t all = ~0ULL;
    char c;
    SYS(__NR_rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
    SYS_0(__NR_setsid); /* who kills our group shall not kill it */
    descriptors_close_but(keep, 2, 0);
    (void)sys_read(line, &c, 1);
    (void)sys_write(state, "THAWED", 6);
    sys_exit(0);
}

/* In version 1 what is frozen does not even die of SIGKILL. So that nothing of the jail outlives us, however we end, a
 * process of our own waits for that, and thaws. */
static long post_guard(const struct run *run)
{
    int line[2], state = cgroups_thaw_file(run);
    if (state < 0 || guard.pid)
        return state < 0 ? 0 : sys_close(state);
    long pid = SYS(__NR_pipe2, line, O_CLOEXEC);
    if (pid >= 0) {
        pid = SYS(__NR_clone, 0, 0, 0, 0, 0);
        if (pid == 0)
            watch_over(line[0], state);
        sys_close(line[0]);
        guard.line = line[1];
        if (pid < 0)
            sys_close(line[1]);
    }
    sys_close(state);
    guard.pid = pid > 0 ? (int)pid : 0;
    return pid < 0 ? pid : 0;
}

void pause_end(void)
{
    if (!guard.pid)
        return;
    SYS(__NR_kill, guard.pid, SIGKILL);
    SYS(__NR_wait4, guard.pid, 0, 0x40000000 /* __WALL */, 0);
    sys_close(guard.line);
    guard.pid = 0;
}

const char *jail_state(const struct watch *w)
{
    static const char *const names[] = {[RUNS] = "running", [IS_PAUSING] = "pausing", [IS_PAUSED] = "paused"};
    return names[w->state];
}

/* What init does in between: whoever it finds outside has just been moved, and might have forked before. */
static struct {
    bool asked, outdated; /* outdated: for a pause before this one */
    bool nobody;          /* outside, when it last looked */
} gathering;

static void give_up_pausing(struct watch *w, long error)
{
    cgroups_thaw(w->run);
    w->state = RUNS;
    w->pause_at = NEVER;
    peers_tell_paused(error);
}

long pause_jail(struct watch *w)
{
    if (w->ended || w->verdict->known)
        return -ESRCH;
    if (w->state != RUNS)
        return w->state == IS_PAUSING;
    long done = cgroups_freezable(w->run);
    if (done >= 0)
        done = post_guard(w->run);
    if (done < 0)
        return done;
    w->state = IS_PAUSING;
    w->freezing = false;
    w->pause_at = w->freeze_at = 0;
    gathering.nobody = false;
    gathering.outdated = gathering.asked;
    w->pause_until = clock_us() + LONGEST_US;
    return 1;
}

/* Until all are in the freezer and it is frozen; if it is not, anew. */
static long gather(const struct run *run)
{
    if (cgroups_gathers(run) && !gathering.nobody) {
        long done = gathering.asked ? 0 : cgroups_gather(run);
        gathering.asked = gathering.asked || done > 0;
        return done == -EAGAIN || done > 0 ? 0 : done;
    }
    gathering.nobody = false;
    return cgroups_frozen(run);
}

void pause_gathered(struct watch *w, int outside)
{
    bool ours = w->state == IS_PAUSING && !gathering.outdated;
    gathering.asked = gathering.outdated = false;
    if (ours && outside < 0)
        return give_up_pausing(w, -outside);
    gathering.nobody = ours && outside == 0;
    if (w->state == IS_PAUSING)
        w->pause_at = 0;
}

/* Not before all commands are where they can be frozen: those that are asked for from now on come there by themselves.
 * Anew, since one may be waiting in the kernel for the death of another that is frozen: a thread that executes a program
 * for those beside it. */
static long advance(struct watch *w)
{
    long done = 0;
    if (!w->freezing && peers_entering())
        return 0;
    if (clock_us() >= w->freeze_at) {
        if (w->freezing)
            cgroups_thaw(w->run);
        done = cgroups_freeze(w->run);
        w->freezing = true;
        w->freeze_at = clock_us() + ANEW_US;
    }
    return done < 0 ? done : gather(w->run);
}

void check_pause(struct watch *w)
{
    long frozen = advance(w);
    if (frozen < 0 || (frozen == 0 && clock_us() >= w->pause_until)) {
        give_up_pausing(w, frozen < 0 ? -frozen : ETIMEDOUT);
    } else if (frozen == 0) {
        w->pause_at = clock_us() + LOOK_AGAIN_US;
    } else {
        w->state = IS_PAUSED;
        w->pause_at = NEVER;
        event_tell(w->run, "paused", "");
        peers_tell_paused(0);
    }
}

void wake_jail(struct watch *w)
{
    if (w->state == IS_PAUSED)
        event_tell(w->run, "resumed", "");
    if (w->state != RUNS)
        give_up_pausing(w, ECANCELED);
}

long resume_jail(struct watch *w)
{
    if (w->ended || w->verdict->known)
        return -ESRCH;
    wake_jail(w);
    return 0;
}
