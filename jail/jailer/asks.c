/* What is asked of the supervisor while the jail runs, and what it does about it. */
#include "asks.h"
#include "audit.h"
#include "exec.h"
#include <asm/signal.h>

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
    case ENODEV:
        return "pausing takes a cgroup of the jail's own, which this one has not, or which cannot freeze";
    case ETIMEDOUT:
        return "not all of the jail could be frozen in time; it runs on";
    case ECANCELED:
        return "before all of the jail was frozen it was resumed, or ended";
    case EUSERS:
        return "too many connections to this jail at once";
    default:
        return errno_text((int)error);
    }
}

void peer_refuse(struct line *l, long error)
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

/* To the jail, or to the command that was asked for here, whose connection has one more line to come, its end: so
 * nothing is answered there. */
static long send_signal(struct request *r, int signal)
{
    if (r->peer->command) {
        r->answer = NULL;
        peer_signal_command(r->run, r->peer, signal);
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
    line_text(l, ",\"state\":");
    line_json(l, jail_state(r->watch));
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
    event_write(r->answer, r->run, "started", "", 0); /* or it would not be served */
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
    p->running = p->entering = true;
    p->since_us = clock_us();
    return 0;
}

/* Another connection, so that one caller's threads do not get one another's answers. It has the answer to this too,
 * which is nothing if all is well: its maker waits for none. */
static long ask_connect(struct request *r)
{
    LINE(refusal, 256);
    struct peer p = {.fd = r->fds[0]};
    long fd = peers_add(p.fd);
    if (fd < 0) {
        peer_refuse(&refusal, -fd);
        peer_say(&p, &refusal);
    }
    r->answer = NULL;
    return 0;
}

/* The answer is that it is so, and comes when it is (peers_tell_paused). */
static long ask_pause(struct request *r)
{
    long done = pause_jail(r->watch);
    if (done <= 0)
        return done;
    r->peer->pausing = true;
    r->answer = NULL;
    return 0;
}

static long ask_resume(struct request *r)
{
    return resume_jail(r->watch);
}

static const struct {
    const char *word;
    unsigned fds;
    long (*act)(struct request *r);
} requests[] = {
    {"info", 0, ask_info},     {"stats", 0, ask_stats},   {"kill", 0, ask_kill},     {"signal", 0, ask_signal},
    {"begin", 0, ask_begin},   {"events", 0, ask_events}, {"connect", 1, ask_connect}, {"exec", 4, ask_exec},
    {"pause", 0, ask_pause},   {"resume", 0, ask_resume},
};

long ask(struct request *r, char *text)
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

