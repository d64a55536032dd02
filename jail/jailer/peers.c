/* Requests while the jail runs. Each connection is a SOCK_SEQPACKET socket: a message that comes is one request of a
 * few words, and a line of JSON goes back. Nothing here waits for anybody: whoever does not read the answers loses the
 * connection, whoever does not read the events loses some and is told how many. */
#include "asks.h"
#include "audit.h"
#include <asm/signal.h>

#define LONGEST 256
#define HANG_UP 0x2000 /* POLLRDHUP */
#define STOP_WRITING 1 /* SHUT_WR */

static struct peer peers[MAX_PEERS];
static unsigned peer_count;

void peers_open(const struct run *run)
{
    int control = run->plan->control_fd;
    /* By a copy: who has ended it is told the end of the jail there all the same (run.c), and not before. */
    long copy = control < 0 ? control : SYS(__NR_fcntl, control, F_DUPFD_CLOEXEC, 3);
    if (control >= 0)
        peers[peer_count++] = (struct peer){.fd = copy < 0 ? control : (int)copy, .caller = true};
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

long peers_add(int fd)
{
    long copy = peer_count < MAX_PEERS ? SYS(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 3) : -EUSERS;
    if (copy >= 0)
        peers[peer_count++] = (struct peer){.fd = (int)copy};
    return copy;
}

/* Before the payload runs only the caller's end counts: requests wait in the socket. */
unsigned peers_watch(struct pollfd *wait, bool started)
{
    for (unsigned i = 0; i < peer_count; i++) {
        const struct peer *p = &peers[i];
        bool ready = started && !p->deaf && !p->pausing && !(p->listener && peer_count == MAX_PEERS);
        bool listen = p->silent || ready;
        wait[i] = (struct pollfd){.fd = p->parted ? -1 : p->fd, .events = listen ? POLLIN | HANG_UP : HANG_UP};
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

bool peer_say(const struct peer *p, struct line *l)
{
    line_char(l, '\n');
    return !l->full && channel_send(p->fd, l->data, l->used, NULL, 0) >= 0;
}

static void answer(struct peer *p, struct line *l)
{
    if (peer_say(p, l))
        return;
    p->deaf = true;
    SYS(__NR_shutdown, p->fd, STOP_WRITING);
}

void event_write(struct line *l, const struct run *run, const char *name, const char *more, uint64_t lost)
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
        event_write(&l, run, name, more, p->lost);
        p->lost = peer_say(p, &l) ? 0 : p->lost + 1;
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

void peer_signal_command(const struct run *run, struct peer *p, int signal)
{
    p->owed |= 1ULL << (signal - 1);
    pay(run, p);
}

void peers_hear_command(const struct run *run, const struct parcel *said)
{
    for (unsigned i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        LINE(l, 2048);
        if (!p->running || p->command != said->command)
            continue;
        p->entering = false;
        if (said->kind == PARCEL_COMMAND_ENTERED)
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

bool peers_entering(void)
{
    for (unsigned i = 0; i < peer_count; i++)
        if (peers[i].entering)
            return true;
    return false;
}

void peers_tell_paused(long error)
{
    for (unsigned i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        LINE(l, 256);
        if (!p->pausing)
            continue;
        p->pausing = false;
        if (error)
            peer_refuse(&l, error);
        else
            line_text(&l, "{}");
        answer(p, &l);
    }
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
    long done = n == LONGEST || text_length(text) != (size_t)n ? -EINVAL : ask(&r, text);
    for (unsigned i = 0; i < r.count; i++)
        sys_close(fds[i]);
    if (done < 0)
        peer_refuse(&reply, -done);
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
        end_by_force(w);
    peer_signal_command(run, p, SIGKILL);
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
