/* libFuzzer over what is asked of a jail that runs: an input is a list of steps, each on one of the connections that
 * there are then. Every answer must be a whole line of JSON's characters; when all have parted, nothing of them is
 * left: no connection, no descriptor. What the requests do to a jail is left out here, and how it goes told at random. */
#include "audit.h"
#include "exec.h"
#include "peers.h"
#include <stdlib.h>

enum act { SAY, PART, COMMAND_ENDS, COMMAND_FAILS, TELL, INIT_HEARS, ACTS };

struct watch {
    unsigned killed;
    bool paused;
};

static char *words[] = {"/bin/prog\"ram", "an\nargument", NULL};
static struct plan plan;
static struct run run = {.plan = &plan, .argv = words};
static struct watch state;
static int ends[MAX_PEERS]; /* of the connections: ours */
static unsigned end_count;
static uint32_t commands;
static bool refuses; /* commands */

/* What is not asked here. */
bool signal_jail(struct watch *w, int signal) { return w && signal >= 1 && signal <= 64 && signal % 2; }
void end_by_force(struct watch *w) { w->killed++; }
void restart_clocks(struct watch *w) { (void)w; }
long pause_jail(struct watch *w) { return refuses ? -ENODEV : !w->paused; }
const char *jail_state(const struct watch *w) { return w->paused ? "paused" : "running"; }

long resume_jail(struct watch *w)
{
    peers_tell_paused(w->paused ? 0 : ECANCELED);
    w->paused = false;
    return 0;
}
int registry_accept(int listener) { return listener; }
const char *registry_name(void) { return "na\\me"; }
int64_t clock_us(void) { return 1; }
void usage_write(struct line *l, const struct run *r) { (void)r, line_text(l, "{\"wall_seconds\":1}"); }

void outcome_of_command(struct line *l, const struct run *r, const struct ended *e)
{
    (void)r;
    line_text(l, "{\"command\":");
    line_json(l, e->command);
    line_char(l, '}');
}

void call_write(struct line *l, uint32_t arch, uint32_t number) { (void)arch, line_number(l, number, 10); }

long exec_order(struct run *r, const int *fds, uint32_t id, char *name, size_t room)
{
    struct line l = {name, room, 0, false};
    for (unsigned i = 0; i < EXEC_GATES; i++)
        if (SYS(__NR_fcntl, fds[i], F_GETFD) < 0)
            abort();
    if (r != &run || id != commands + 1)
        abort();
    if (refuses)
        return -EAGAIN;
    commands = id;
    line_text(&l, words[0]);
    return 0;
}

static void connect_pair(int *pair)
{
    if (SYS(__NR_socketpair, 1 /* AF_UNIX */, 5 /* SOCK_SEQPACKET */ | O_CLOEXEC, 0, pair) < 0)
        abort();
}

static int lowest_free(void)
{
    int fd = (int)SYS(__NR_dup, 0);
    sys_close(fd);
    return fd;
}

static void hear_answers(int fd)
{
    char text[8192];
    int fds[CHANNEL_FDS];
    unsigned count;
    long n;
    while ((n = channel_hear(fd, text, sizeof text, fds, &count)) > 0) {
        if (n < 3 || count || text[0] != '{' || text[n - 2] != '}' || text[n - 1] != '\n')
            abort();
        for (long i = 0; i < n - 1; i++)
            if ((unsigned char)text[i] < ' ')
                abort();
    }
}

static void serve(void)
{
    struct pollfd wait[MAX_PEERS];
    long ready;
    bool owed;
    do {
        owed = peers_owe();
        unsigned count = peers_watch(wait, true);
        if (count > MAX_PEERS)
            abort();
        ready = SYS(__NR_poll, wait, count, 0);
        peers_serve(&state, &run, wait, count);
        for (unsigned i = 0; i < end_count; i++)
            hear_answers(ends[i]);
    } while (ready > 0 || (owed && !peers_owe()));
}

static void part(unsigned i)
{
    sys_close(ends[i]);
    ends[i] = ends[--end_count];
}

/* With every second message there is a descriptor that could be a connection. */
static void say(int fd, const uint8_t *text, size_t size, unsigned count)
{
    int fds[CHANNEL_FDS], pair[2];
    connect_pair(pair);
    for (unsigned i = 0; i < count; i++)
        fds[i] = pair[1];
    channel_send(fd, text, size, fds, count);
    sys_close(pair[1]);
    if (count == 1 && end_count < MAX_PEERS)
        ends[end_count++] = pair[0];
    else
        sys_close(pair[0]);
}

static void init_hears(int fd)
{
    struct order order;
    int fds[CHANNEL_FDS];
    unsigned count;
    while (channel_hear(fd, &order, sizeof order, fds, &count) > 0)
        if (order.whom != A_COMMAND || order.command == 0 || order.command > commands)
            abort();
}

static void act(enum act kind, unsigned number, const uint8_t *text, size_t size)
{
    struct parcel said = {.kind = kind == COMMAND_ENDS ? PARCEL_COMMAND_ENDED : PARCEL_COMMAND_FAILED, .command = number};
    switch (kind) {
    case SAY:
        return say(ends[number % end_count], text, size, number / 32);
    case PART:
        return part(number % end_count);
    case TELL:
        state.paused |= number % 2;
        if (state.paused)
            peers_tell_paused(0);
        return event_tell(&run, "stopped", "");
    case INIT_HEARS:
        return init_hears(run.control[1]);
    default:
        return peers_hear_command(&run, &said);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2], free = lowest_free(), least = 0;
    connect_pair(pair);
    connect_pair(run.control);
    SYS(__NR_setsockopt, run.control[0], 1 /* SOL_SOCKET */, 7 /* SO_SNDBUF */, &least, sizeof least);
    plan = (struct plan){.control_fd = pair[1], .life_fd = -1, .audit = size % 7 == 0};
    run.begun = false;
    refuses = size % 3 == 0;
    state = (struct watch){0};
    ends[0] = pair[0];
    end_count = 1;
    peers_open(&run);
    while (size >= 3 && end_count) {
        size_t length = data[2] > size - 3 ? size - 3 : data[2];
        act(data[0] % ACTS, data[1], data + 3, length);
        data += 3 + length;
        size -= 3 + length;
        serve();
    }
    while (end_count)
        part(0);
    serve();
    while (peers_owe()) {
        init_hears(run.control[1]);
        serve();
    }
    sys_close(run.control[0]);
    sys_close(run.control[1]);
    sys_close(pair[1]); /* the run's, whose copy the peers had */
    struct pollfd none[MAX_PEERS];
    if (peers_watch(none, true) || state.killed != 1)
        abort();
    if (lowest_free() != free)
        abort(); /* a descriptor was left open */
    return 0;
}
