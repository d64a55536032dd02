/* What the audit heard: each call once, with the arguments that mean something and what became of it, and how often.
 * A payload may make up numbers and arguments as it likes: every kind has its bound, and what is beyond is counted. */
#include "audit.h"
#include <linux/audit.h>

#define MOST_TUPLES 32  /* of arguments, for each number; all others become one record without arguments */
#define MOST_STRANGE 64 /* records of numbers that are no call, or another architecture's */
#define RECORDS 4096    /* room for all of that, where a policy does two things or three with a call */
#define SLOTS (4 * RECORDS)
#define ONE_RECORD 512  /* bytes of JSON, at most */
#define MOST_NAMES 8   /* on the terminal */

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#else
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

struct record {
    uint32_t arch, number, action;
    uint32_t telling; /* which of the arguments were kept */
    uint64_t args[6], count;
};

static struct record records[RECORDS];
static uint16_t slots[SLOTS]; /* a hash table of record numbers, from 1 on */
static unsigned used, strange;
static uint8_t tuples[CALLS];
static uint64_t lost;

static bool is_known(const struct record *r)
{
    return r->arch == OWN_ARCH && r->number < CALLS;
}

static unsigned hash(const struct record *r)
{
    uint64_t h = (uint64_t)r->number << 32 ^ r->action ^ (uint64_t)r->arch << 16 ^ r->telling;
    for (unsigned i = 0; i < COUNT(r->args); i++)
        h = (h ^ r->args[i]) * 0x9e3779b97f4a7c15;
    return (unsigned)((h * 0x9e3779b97f4a7c15) >> 32) % SLOTS;
}

/* The slot that holds its number, or the free one where that belongs. */
static uint16_t *find(const struct record *r)
{
    unsigned at = hash(r);
    while (slots[at] && memcmp(&records[slots[at] - 1], r, offsetof(struct record, count)) != 0)
        at = (at + 1) % SLOTS;
    return &slots[at];
}

static bool has_room(const struct record *r)
{
    if (!is_known(r))
        return strange < MOST_STRANGE;
    return used < RECORDS - MOST_STRANGE && (!r->telling || tuples[r->number] < MOST_TUPLES);
}

/* The record of just this, made if there is room for it. */
static struct record *look_up(const struct record *r)
{
    uint16_t *slot = find(r);
    if (!*slot) {
        if (!has_room(r))
            return NULL;
        strange += !is_known(r);
        if (r->telling)
            tuples[r->number]++;
        records[used] = *r;
        *slot = (uint16_t)++used;
    }
    return &records[*slot - 1];
}

void tally_add(const struct seccomp_data *call, uint32_t action)
{
    struct record r = {.arch = call->arch, .number = (uint32_t)call->nr, .action = action};
    r.telling = is_known(&r) ? call_telling(r.number) : 0;
    for (unsigned i = 0; i < COUNT(r.args); i++)
        if (r.telling >> i & 1)
            r.args[i] = call->args[i];
    struct record *found = look_up(&r);
    if (!found && r.telling) {
        r.telling = 0;
        memset(r.args, 0, sizeof r.args);
        found = look_up(&r);
    }
    if (found)
        found->count++;
    else
        lost++;
}

uint64_t tally_lost(void)
{
    return lost;
}

static bool is_refused(const struct record *r)
{
    uint32_t action = r->action & SECCOMP_RET_ACTION_FULL;
    return action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG;
}

/* How often a call was refused, over all its records; 0 for all but the first of them. */
static uint64_t times_refused(unsigned at)
{
    const struct record *r = &records[at];
    uint64_t times = 0;
    for (unsigned i = 0; i < used && is_refused(r); i++) {
        const struct record *other = &records[i];
        bool same = other->number == r->number && other->arch == r->arch && is_refused(other);
        if (same && i < at)
            return 0;
        times += same ? other->count : 0;
    }
    return times;
}

void call_write(struct line *l, uint32_t arch, uint32_t number)
{
    const char *known = arch == OWN_ARCH && number < CALLS ? call_name(number) : NULL;
    if (known) {
        line_text(l, known);
        return;
    }
    line_text(l, arch == OWN_ARCH ? "syscall_" : "foreign_");
    line_number(l, number, 10);
}

static void name(struct line *l, const struct record *r)
{
    call_write(l, r->arch, r->number);
}

static void quoted_name(struct line *l, const struct record *r)
{
    line_char(l, '"');
    name(l, r);
    line_char(l, '"');
}

/* Write out what is there, unless there is as much room as is asked for. */
static long make_room(struct line *l, size_t room, int fd)
{
    if (l->size - l->used > room)
        return 0;
    long done = sys_write_all(fd, l->data, l->used);
    l->used = 0;
    return done;
}

long tally_denied(struct line *l, int fd)
{
    long done = 0;
    const char *comma = "";
    line_char(l, '{');
    for (unsigned i = 0; i < used && done >= 0; i++) {
        uint64_t times = times_refused(i);
        if (!times)
            continue;
        line_text(l, comma);
        quoted_name(l, &records[i]);
        line_char(l, ':');
        line_number(l, times, 10);
        comma = ",";
        done = make_room(l, ONE_RECORD, fd);
    }
    line_char(l, '}');
    return done;
}

static const char *action_name(uint32_t action)
{
    switch (action & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
        return "allow";
    case SECCOMP_RET_LOG:
        return "log";
    case SECCOMP_RET_ERRNO:
        return "errno";
    default:
        return "kill";
    }
}

static void arguments(struct line *l, const struct record *r)
{
    if (!r->telling) {
        line_text(l, "null");
        return;
    }
    for (unsigned i = 0; i < COUNT(r->args); i++) {
        line_char(l, i ? ',' : '[');
        if (r->telling >> i & 1)
            line_number(l, r->args[i], 10);
        else
            line_text(l, "null");
    }
    line_char(l, ']');
}

static void record(struct line *l, const struct record *r)
{
    line_text(l, "{\"name\":");
    quoted_name(l, r);
    line_text(l, ",\"number\":");
    line_number(l, r->number, 10);
    line_text(l, ",\"args\":");
    arguments(l, r);
    line_text(l, ",\"action\":");
    line_json(l, action_name(r->action));
    line_text(l, ",\"errno\":");
    line_number(l, r->action & SECCOMP_RET_DATA, 10);
    line_text(l, ",\"count\":");
    line_number(l, r->count, 10);
    line_char(l, '}');
}

long tally_calls(struct line *l, int fd)
{
    long done = 0;
    line_char(l, '[');
    for (unsigned i = 0; i < used && done >= 0; i++) {
        if (i)
            line_char(l, ',');
        record(l, &records[i]);
        done = make_room(l, ONE_RECORD, fd);
    }
    if (done >= 0)
        done = make_room(l, l->size, fd);
    line_char(l, ']');
    return done;
}

static bool is_terminal(int fd)
{
    char settings[64]; /* struct termios, 36 bytes */
    return SYS(__NR_ioctl, fd, 0x5401 /* TCGETS */, settings) == 0;
}

void tally_tell(const struct plan *plan)
{
    LINE(l, 1024);
    unsigned names = 0;
    for (unsigned i = 0; i < used; i++) {
        uint64_t times = times_refused(i);
        if (!times || names++ >= MOST_NAMES)
            continue;
        line_text(&l, names == 1 ? "pyjail: refused: " : ", ");
        name(&l, &records[i]);
        line_text(&l, " ×");
        line_number(&l, times, 10);
    }
    if (!names || !is_terminal(2))
        return;
    if (names > MOST_NAMES) {
        line_text(&l, " and ");
        line_number(&l, names - MOST_NAMES, 10);
        line_text(&l, " more");
    }
    line_text(&l, " (policy ");
    line_escaped(&l, plan->seccomp_name, text_length(plan->seccomp_name) > 256 ? 256 : text_length(plan->seccomp_name));
    line_text(&l, ")\n");
    (void)sys_write_all(2, l.data, l.used);
}
