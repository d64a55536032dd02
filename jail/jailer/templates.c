/* The plans that a serving jailer has met, and the jails that stand ready for them. A plan that is used again gets one;
 * it goes when nobody has used the plan for a while, unless the caller says how many are to be kept. */
#ifndef PYJAIL_FRONT
#include "standby.h"
#include "text.h"
#include <asm/signal.h>
#include <linux/mman.h>
#include <linux/poll.h>

#define MOST_TEMPLATES 32
#define USES 2           /* from then on it is expected to be used again */
#define IDLE_US 1000000  /* without a use */
#define PAUSE_US 1000000 /* after a failure */
#define REFILL_US 3000   /* after a use: making a jail is in the way of the one that has just begun … */
#define HURRY_US 6000    /* … unless the next use is as near as the last one is, and would find none */
#define SOCKET_UNIX 1
#define SOCKET_SEQPACKET 5

struct template {
    char *text; /* the plan, with a NUL behind it; NULL if there is none here */
    size_t size;
    struct plan *plan; /* the same, parsed when a jail was first made ahead: in memory of its own, with its text */
    uint64_t uses;
    int64_t used_us, refill_at, pause_until;
    uint32_t keep;   /* as the caller wants, or AS_EVER */
    int waiter;      /* hears when as many are ready, or -1 */
    bool impossible;
};

enum state { PREPARING, READY, ASKED };

static struct standby {
    int channel;
    struct template *of;
    enum state state;
} standbys[MOST_STANDBYS];

static struct template templates[MOST_TEMPLATES];
static unsigned standby_count;
static int caller, small;

void templates_begin(int callers_pidfd, int small_namespace)
{
    caller = callers_pidfd;
    small = small_namespace;
}

static unsigned count(const struct template *t, enum state state)
{
    unsigned n = 0;
    for (unsigned i = 0; i < standby_count; i++)
        n += standbys[i].of == t && standbys[i].state == state;
    return n;
}

/* Its end of the channel is closed: if it has no run, it goes. */
static void drop(unsigned i)
{
    sys_close(standbys[i].channel);
    standbys[i] = standbys[--standby_count];
}

static void drop_all(const struct template *t)
{
    for (unsigned i = standby_count; i-- > 0;)
        if (standbys[i].of == t && standbys[i].state != ASKED)
            drop(i);
}

/* Whoever waits for the standbys hears how many there are. */
static void answer(struct template *t)
{
    struct answer said = {.pid = (int32_t)count(t, READY)};
    if (t->waiter < 0)
        return;
    channel_send(t->waiter, &said, sizeof said, NULL, 0);
    sys_close(t->waiter);
    t->waiter = -1;
}

/* ---- plans ---- */

static size_t room(const struct template *t)
{
    return sizeof *t->plan + t->size + 1;
}

static void parse(struct template *t)
{
    struct plan_error error;
    long memory = SYS(__NR_mmap, 0, room(t), 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -4096)
        return;
    t->plan = (struct plan *)memory;
    memcpy(t->plan + 1, t->text, t->size);
    t->impossible = !plan_parse(t->plan, (char *)(t->plan + 1), t->size, &error);
}

static void forget(struct template *t)
{
    if (t->plan) {
        plan_release(t->plan);
        SYS(__NR_munmap, t->plan, room(t));
    }
    drop_all(t);
    for (unsigned i = 0; i < standby_count; i++)
        if (standbys[i].of == t)
            standbys[i].of = NULL;
    answer(t);
    SYS(__NR_munmap, t->text, t->size + 1);
    t->text = NULL;
}

/* A place for one more: a free one, or that of whichever was used longest ago. */
static struct template *place(void)
{
    struct template *oldest = NULL;
    for (unsigned i = 0; i < MOST_TEMPLATES; i++) {
        struct template *t = &templates[i];
        if (!t->text)
            return t;
        if (t->keep == AS_EVER && (!oldest || t->used_us < oldest->used_us))
            oldest = t;
    }
    if (oldest)
        forget(oldest);
    return oldest;
}

/* Whether the plan, from there on in the text, is this one. It is read and not mapped: that would take longer. */
static bool is_of(const struct template *t, int text, size_t from, size_t size)
{
    static char part[8192];
    if (!t->text || t->size != size)
        return false;
    for (size_t at = 0; at < size;) {
        size_t most = size - at < sizeof part ? size - at : sizeof part;
        long n = SYS(__NR_pread64, text, part, most, from + at);
        if (n <= 0 || memcmp(t->text + at, part, (size_t)n) != 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static struct template *add(int text, size_t from, size_t size)
{
    struct template *t = place();
    long memory = t ? SYS(__NR_mmap, 0, size + 1, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : -ENOMEM;
    if (memory < 0 && memory > -4096)
        return NULL;
    if (SYS(__NR_pread64, text, memory, size, from) != (long)size) {
        SYS(__NR_munmap, memory, size + 1);
        return NULL;
    }
    *t = (struct template){.text = (char *)memory, .size = size, .keep = AS_EVER, .waiter = -1};
    return t;
}

struct template *templates_find(const struct asked *a)
{
    struct stat st;
    size_t from = a->head.command;
    int text = a->fd[ASKED_TEXT];
    if (sys_fstat(text, &st) < 0 || (uint64_t)st.st_size <= from)
        return NULL;
    size_t size = (size_t)st.st_size - from - 1;
    for (unsigned i = 0; i < MOST_TEMPLATES; i++)
        if (is_of(&templates[i], text, from, size))
            return &templates[i];
    return add(text, from, size);
}

/* ---- standbys ---- */

/* One that is not ready yet has begun earlier than any other could. */
static bool hand_to(const struct template *t, enum state state, const struct asked *a)
{
    for (unsigned i = 0; i < standby_count; i++)
        if (standbys[i].of == t && standbys[i].state == state && request_send(standbys[i].channel, a) >= 0) {
            standbys[i].state = ASKED;
            return true;
        }
    return false;
}

bool templates_hand_over(struct template *t, const struct asked *a)
{
    int64_t now = clock_us();
    t->uses++;
    bool hurry = now - t->used_us < HURRY_US && count(t, READY) <= 1;
    t->refill_at = hurry ? now : now + REFILL_US;
    t->used_us = now;
    return hand_to(t, READY, a) || hand_to(t, PREPARING, a);
}

void templates_keep(struct template *t, struct asked *a)
{
    answer(t);
    t->keep = a->head.keep > MOST_STANDBYS && a->head.keep != AS_EVER ? MOST_STANDBYS : a->head.keep;
    t->waiter = a->fd[ASKED_LIFE];
    a->fd[ASKED_LIFE] = -1;
    t->pause_until = t->refill_at = 0;
}

/* What failed once, or was of no use, is not tried again at once. */
static void pause(struct template *t)
{
    drop_all(t);
    t->pause_until = clock_us() + PAUSE_US;
}

static unsigned wanted(const struct template *t, int64_t now)
{
    if (!t->text || t->impossible || now < t->pause_until)
        return 0;
    if (t->keep != AS_EVER)
        return t->keep;
    return t->uses >= USES && now < t->used_us + IDLE_US;
}

static void make(struct template *t)
{
    int ends[2];
    if (!t->plan)
        parse(t);
    if (!t->plan || t->impossible || SYS(__NR_socketpair, SOCKET_UNIX, SOCKET_SEQPACKET | O_CLOEXEC, 0, ends) < 0)
        return pause(t);
    long pid = SYS(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        int keep[3];
        unsigned count = descriptors_insert(keep, descriptors_insert(keep, 0, ends[1]), caller);
        if (small >= 0)
            count = descriptors_insert(keep, count, small);
        if (descriptors_close_but(keep, count, 3) < 0)
            sys_exit(125);
        t->plan->small_fd = t->plan->pool && small >= 0 ? small : UNSET;
        sys_exit(stand_by(t->plan, ends[1], caller));
    }
    sys_close(ends[1]);
    standbys[standby_count++] = (struct standby){ends[0], t, PREPARING}; /* if there is none we hear of its end */
}

static void trim(struct template *t, unsigned most)
{
    for (unsigned i = standby_count; i-- > 0 && count(t, PREPARING) + count(t, READY) > most;)
        if (standbys[i].of == t && standbys[i].state != ASKED)
            drop(i);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Make and drop what one plan is to have; when to look at it again. */
static int64_t work(struct template *t, int64_t now)
{
    unsigned most = wanted(t, now), there = count(t, PREPARING) + count(t, READY);
    int64_t again = now < t->pause_until ? t->pause_until : INT64_MAX;
    if (there > most)
        trim(t, most);
    if (there < most && now < t->refill_at)
        again = earlier(again, t->refill_at);
    for (; there < most && now >= t->refill_at && standby_count < MOST_STANDBYS; there++)
        make(t);
    if (count(t, PREPARING) == 0 && now >= t->refill_at) /* that is all */
        answer(t);
    return t->keep == AS_EVER && most ? earlier(again, t->used_us + IDLE_US) : again;
}

int64_t templates_work(void)
{
    int64_t now = clock_us(), again = INT64_MAX;
    for (unsigned i = 0; i < MOST_TEMPLATES; i++)
        if (templates[i].text)
            again = earlier(again, work(&templates[i], now));
    return again;
}

unsigned templates_watch(struct pollfd *wait)
{
    for (unsigned i = 0; i < standby_count; i++)
        wait[i] = (struct pollfd){.fd = standbys[i].channel, .events = POLLIN};
    return standby_count;
}

/* It has ended, or has its run, which is none of our business any more. */
static void hear_end(unsigned i)
{
    struct template *t = standbys[i].of;
    bool failed = standbys[i].state != ASKED;
    drop(i);
    if (failed)
        pause(t);
}

/* It has been handed a request and would not do, nor would the others. */
static void hear_refusal(unsigned i)
{
    struct template *t = standbys[i].of;
    drop(i);
    if (t)
        pause(t);
}

static bool hear(unsigned i, struct asked *a)
{
    uint32_t news = STANDBY_READY;
    long n = channel_hear(standbys[i].channel, &a->head, sizeof a->head, a->fd, &a->count);
    memcpy(&news, &a->head, sizeof news);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        hear_end(i);
    } else if (n != sizeof news) {
        bool sound = request_sound(&a->head, (size_t)n, a->count);
        hear_refusal(i);
        return sound;
    } else if (news == STANDBY_READY && standbys[i].state == PREPARING) {
        standbys[i].state = READY;
    } else if (news == STANDBY_IMPOSSIBLE && standbys[i].of) {
        standbys[i].of->impossible = true;
    }
    return false;
}

/* Those that go change the places of the others, whose news can wait. */
bool templates_hear(const struct pollfd *wait, struct asked *a)
{
    for (unsigned i = standby_count; i-- > 0;)
        if (wait[i].revents && i < standby_count && hear(i, a))
            return true;
    return false;
}
#endif
