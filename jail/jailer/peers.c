/* Requests while the jail runs. Each connection is a SOCK_SEQPACKET socket: a message that comes is one request of a
 * few words, and a line of JSON goes back. Nothing here waits for anybody: whoever does not read the answers loses the
 * connection, whoever does not read the events loses some and is told how many. */
#include "peers.h"
#include "audit.h"
#include "exec.h"
#include <asm/signal.h>

#define LONGEST 256
#define HANG_UP 0x2000 /* POLLRDHUP */
#define STOP_WRITING 1 /* SHUT_WR */

struct peer {
    int fd;
    bool caller;     /* whose end is the jail's */
    bool silent;     /* anything that comes is the caller's end, and no request */
    bool subscribed; /* to events */
    bool listener;   /* no connection, but where they come */
    bool deaf;       /* has not read an answer: nothing but its end counts any more */
    uint64_t lost;   /* events since the last that got through */
    uint32_t command; /* the number of the one that was asked for here, or 0: what is asked now is for that */
    bool running;    /* … as far as we know */
    uint64_t owed;   /* signals that init had no room for, a bit each */
    bool parted;     /* … and when it has had, the connection goes */
    int64_t since_us;
    struct failure failure; /* of its start */
    char name[128];
};

static struct peer peers[MAX_PEERS];
static unsigned peer_count;

struct request {
    struct watch *watch;
    struct run *run;
    struct peer *peer;
    const char *argument; /* what follows the word, or "" */
    const int *fds;
    unsigned count;
    struct line *answer;
};

void peers_open(const struct run *run)
{
    if (run->plan->control_fd >= 0)
        peers[peer_count++] = (struct peer){.fd = run->plan->control_fd, .caller = true};
    if (run->plan->life_fd >= 0)
        peers[peer_count++] = (struct peer){.fd = run->plan->life_fd, .caller = true, .silent = true};
}

void peers_listen(int socket)
{
    peers[peer_count++] = (struct peer){.fd = socket, .listener = true};
}

static void welcome(int listener)
{
    int fd = registry_accept(listener);
    if (fd >= 0)
        peers[peer_count++] = (struct peer){.fd = fd};
}

/* Before the payload runs only the caller's end counts: requests wait in the socket. */
unsigned peers_watch(struct pollfd *wait, bool started)
{
    for (unsigned i = 0; i < peer_count; i++) {
        bool listen = peers[i].silent || (started && !peers[i].deaf && !(peers[i].listener && peer_count == MAX_PEERS));
        wait[i] = (struct pollfd){.fd = peers[i].parted ? -1 : peers[i].fd, .events = listen ? POLLIN | HANG_UP : HANG_UP};
    }
    return peer_count;
}

bool peers_owe(void)
{
    for (unsigned i = 0; i < peer_count; i++)
        if (peers[i].owed)
            return true;
    return false;
}

static bool send_line(const struct peer *p, struct line *l)
{
    line_char(l, '\n');
    return !l->full && channel_send(p->fd, l->data, l->used, NULL, 0) >= 0;
}

static void answer(struct peer *p, struct line *l)
{
    if (send_line(p, l))
        return;
    p->deaf = true;
    SYS(__NR_shutdown, p->fd, STOP_WRITING);
}

static void event_line(struct line *l, const struct run *run, const char *name, const char *more, uint64_t lost)
{
    line_text(l, "{\"event\":");
    line_json(l, name);
    line_text(l, ",\"wall_seconds\":");
    line_seconds(l, (uint64_t)(clock_us() - run->start_us));
    line_text(l, more);
    line_text(l, ",\"lost\":");
    line_number(l, lost, 10);
    line_char(l, '}');
}

void event_tell(const struct run *run, const char *name, const char *more)
{
    for (unsigned i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        LINE(l, 256);
        if (!p->subscribed || p->deaf)
            continue;
        event_line(&l, run, name, more, p->lost);
        p->lost = send_line(p, &l) ? 0 : p->lost + 1;
    }
}

void event_exited(const struct run *run, int wait_status)
{
    LINE(more, 64);
    line_text(&more, EXITED(wait_status) ? ",\"exit_code\":" : ",\"signal\":");
    line_number(&more, (unsigned)(EXITED(wait_status) ? EXIT_CODE(wait_status) : SIGNAL_OF(wait_status)), 10);
    event_tell(run, "exited", more.data);
}

void event_denied(const struct run *run, const struct seccomp_data *call)
{
    LINE(more, 64);
    line_text(&more, ",\"call\":\"");
    call_write(&more, call->arch, (uint32_t)call->nr);
    line_char(&more, '"');
    event_tell(run, "denied", more.data);
}

static const char *why(long error)
{
    switch (error) {
    case ENOSYS:
        return "no such request";
    case EINVAL:
        return "the request has wrong words or descriptors";
    case EALREADY:
        return "the clocks were started before";
    case ESRCH:
        return "the jail has ended";
    case EBUSY:
        return "a command needs a connection of its own";
    case EOPNOTSUPP:
        return "a jail whose system calls are audited takes no other command: its listener hears one filter alone";
    case EUSERS:
        return "too many connections to this jail at once";
    default:
        return errno_text((int)error);
    }
}

static void refuse(struct line *l, long error)
{
    l->used = 0;
    line_text(l, "{\"error\":{\"errno\":");
    line_number(l, (uint64_t)error, 10);
    line_text(l, ",\"message\":");
    line_json(l, why(error));
    line_text(l, "}}");
}

static long ask_stats(struct request *r)
{
    usage_write(r->answer, r->run);
    return 0;
}

/* What init has no room for waits, each signal once, as pending signals do. */
static void pay(const struct run *run, struct peer *p)
{
    struct order o = {.whom = A_COMMAND, .command = p->command};
    for (o.signal = 1; o.signal <= 64 && p->running; o.signal++) {
        uint64_t bit = 1ULL << (o.signal - 1);
        if (p->owed & bit && channel_send(run->control[0], &o, sizeof o, NULL, 0) == -EAGAIN)
            return;
        p->owed &= ~bit;
    }
    p->owed = 0;
}

static void signal_command(const struct run *run, struct peer *p, int signal)
{
    p->owed |= 1ULL << (signal - 1);
    pay(run, p);
}

/* To the jail, or to the command that was asked for here, whose connection has one more line to come, its end: so
 * nothing is answered there. */
static long send_signal(struct request *r, int signal)
{
    if (r->peer->command) {
        r->answer = NULL;
        signal_command(r->run, r->peer, signal);
        return 0;
    }
    bool there = signal_jail(r->watch, signal);
    if (there && signal == SIGCONT)
        event_tell(r->run, "continued", "");
    return there ? 0 : -ESRCH;
}

static long ask_info(struct request *r)
{
    struct line *l = r->answer;
    line_text(l, "{\"name\":");
    line_json(l, registry_name());
    line_text(l, ",\"pid\":");
    line_number(l, (unsigned)SYS_0(__NR_getpid), 10);
    line_text(l, ",\"argv\":[");
    for (char **word = r->run->argv; *word && l->used + 6 * text_length(*word) + 80 < l->size; word++) {
        line_text(l, word == r->run->argv ? "" : ",");
        line_json(l, *word);
    }
    line_text(l, "]}");
    return 0;
}

static long ask_kill(struct request *r)
{
    send_signal(r, SIGKILL);
    return 0;
}

static long ask_signal(struct request *r)
{
    uint64_t number;
    if (!text_number(r->argument, 10, 64, &number) || number == 0)
        return -EINVAL;
    return send_signal(r, (int)number);
}

static long ask_begin(struct request *r)
{
    if (r->run->begun)
        return -EALREADY;
    r->run->begun = true;
    restart_clocks(r->watch);
    return 0;
}

static long ask_events(struct request *r)
{
    r->peer->subscribed = true;
    event_line(r->answer, r->run, "started", "", 0); /* or it would not be served */
    return 0;
}

/* The connection is the command's from here on: its last line is how that ended, and with it the command ends. */
static long ask_exec(struct request *r)
{
    static uint32_t number;
    struct peer *p = r->peer;
    if (r->run->plan->audit)
        return -EOPNOTSUPP;
    if (p->caller || p->command)
        return -EBUSY;
    long done = exec_order(r->run, r->fds, number + 1, p->name, sizeof p->name);
    if (done < 0)
        return done;
    p->command = ++number;
    p->running = true;
    p->since_us = clock_us();
    return 0;
}

void peers_hear_command(const struct run *run, const struct parcel *said)
{
    for (unsigned i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        LINE(l, 2048);
        if (!p->running || p->command != said->command)
            continue;
        if (said->kind == PARCEL_COMMAND_FAILED) {
            p->failure = said->failure;
            continue;
        }
        struct ended e = {.command = p->name, .failure = p->failure, .wait_status = said->wait_status,
                          .wall_us = clock_us() - p->since_us, .user_us = said->user_us, .system_us = said->system_us};
        outcome_of_command(&l, run, &e);
        p->running = false;
        answer(p, &l);
    }
}

/* Another connection, so that one caller's threads do not get one another's answers. It has the answer to this too,
 * which is nothing if all is well: its maker waits for none. */
static long ask_connect(struct request *r)
{
    LINE(refusal, 256);
    struct peer p = {.fd = r->fds[0]};
    long fd = peer_count < MAX_PEERS ? SYS(__NR_fcntl, p.fd, F_DUPFD_CLOEXEC, 3) : -EUSERS;
    if (fd >= 0) {
        peers[peer_count++] = (struct peer){.fd = (int)fd};
    } else {
        refuse(&refusal, -fd);
        send_line(&p, &refusal);
    }
    r->answer = NULL;
    return 0;
}

static const struct {
    const char *word;
    unsigned fds;
    long (*act)(struct request *r);
} requests[] = {
    {"info", 0, ask_info},     {"stats", 0, ask_stats},   {"kill", 0, ask_kill},     {"signal", 0, ask_signal},
    {"begin", 0, ask_begin},   {"events", 0, ask_events}, {"connect", 1, ask_connect},
    {"exec", 4, ask_exec},
};

static long perform(struct request *r, char *text)
{
    char *end = text;
    while (*end && *end != ' ')
        end++;
    r->argument = *end ? end + 1 : end;
    *end = 0;
    for (unsigned i = 0; i < COUNT(requests); i++)
        if (text_equal(requests[i].word, text))
            return requests[i].fds == r->count ? requests[i].act(r) : -EINVAL;
    return -ENOSYS;
}

/* False at the end of the connection. */
static bool hear(struct watch *w, struct run *run, struct peer *p)
{
    char text[LONGEST + 1] = {0};
    int fds[CHANNEL_FDS];
    LINE(reply, 4096);
    struct request r = {.watch = w, .run = run, .peer = p, .fds = fds, .answer = &reply};
    long n = channel_hear(p->fd, text, LONGEST, fds, &r.count);
    if (n == -EAGAIN)
        return true;
    if (n <= 0)
        return false;
    long done = n == LONGEST || text_length(text) != (size_t)n ? -EINVAL : perform(&r, text);
    for (unsigned i = 0; i < r.count; i++)
        sys_close(fds[i]);
    if (done < 0)
        refuse(&reply, -done);
    else if (!reply.used)
        line_text(&reply, "{}");
    if (r.answer)
        answer(p, &reply);
    return true;
}

static void leave(unsigned at)
{
    if (peers[at].owed)
        return;
    sys_close(peers[at].fd);
    peers[at] = peers[--peer_count];
}

static void part(struct watch *w, const struct run *run, unsigned at)
{
    struct peer *p = &peers[at];
    if (p->caller)
        kill_all(w);
    signal_command(run, p, SIGKILL);
    p->parted = true;
    leave(at);
}

/* Backwards, since one that parts leaves its place to the last; new ones come behind all that were waited for. */
void peers_serve(struct watch *w, struct run *run, const struct pollfd *wait, unsigned count)
{
    for (unsigned i = count; i-- > 0;) {
        if (peers[i].owed)
            pay(run, &peers[i]);
        if (peers[i].parted) {
            leave(i);
            continue;
        }
        bool over = wait[i].revents & (HANG_UP | POLLHUP | POLLERR | POLLNVAL);
        if (peers[i].listener) {
            if (wait[i].revents & POLLIN && peer_count < MAX_PEERS)
                welcome(peers[i].fd);
            continue;
        }
        if (peers[i].silent ? wait[i].revents != 0 : over && (peers[i].caller || !(wait[i].revents & POLLIN)))
            part(w, run, i);
        else if (wait[i].revents & POLLIN && !hear(w, run, &peers[i]))
            part(w, run, i);
    }
}
