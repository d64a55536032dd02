/* The relay: where a limit on output asks for it, the payload writes to pipes, and a thread for each passes on what
 * comes; where the payload has a terminal of its own, a thread for each direction. A thread may wait for the caller as
 * long as it likes while the supervisor does its other duties, and the caller's descriptors, which others may share, stay
 * as they are. Bytes are copied: splice(2) would take a slot of the caller's pipe for each small write and fill it with a
 * few bytes. */
#include "run.h"
#include "text.h"
#include <asm/resource.h>
#include <linux/poll.h>
#include <linux/sched.h>

#define CHUNK (64 << 10)

struct stream {
    int fd;       /* what it is to the payload: 0, 1 or 2 */
    int in, out;  /* our end of the pipe, or the payload's terminal, and the caller's descriptor */
    int payloads; /* the pipe's other end, until the payload has it, or -1 */
    bool waiting; /* for somebody to take what has come */
    char data[CHUNK];
    char stack[8192] __attribute__((aligned(16)));
};

/* One process runs one jail. What the threads share with the supervisor is read and written atomically. */
static struct {
    struct stream streams[3];
    unsigned count, running;   /* of the latter, only output */
    int64_t left[OUTPUTS];     /* bytes that may still pass */
    int64_t last_us;           /* when there was output last, or the caller took what there was */
    enum cause exceeded;       /* the limit on output that was */
    bool hung_up;              /* nobody is left at the caller's side of the payload's terminal */
    int terminal;              /* … and our side of that, or -1 */
    int connected;             /* eventfd: it is known */
    uint64_t own_file_size[2]; /* RLIMIT_FSIZE of the supervisor, while it is lowered */
    bool lowered;
} relay;

static int event = -1; /* eventfd: a thread has something to tell */

#define GET(what) __atomic_load_n(&(what), __ATOMIC_SEQ_CST)
#define SET(what, value) __atomic_store_n(&(what), value, __ATOMIC_SEQ_CST)

static void tell(void)
{
    const uint64_t one = 1;
    sys_write(event, &one, sizeof one);
}

/* How many of `size` bytes may pass by a limit, which has as many less from then on. */
static size_t take(enum output of, size_t size)
{
    int64_t left = GET(relay.left[of]), taken;
    do
        taken = left < (int64_t)size ? left : (int64_t)size;
    while (!__atomic_compare_exchange_n(&relay.left[of], &left, left - taken, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return (size_t)taken;
}

/* The same by the stream's own limit and the common one; what the first lets pass the second may not. */
static size_t take_of_both(enum output own, size_t size, enum output *short_of)
{
    size_t most = take(own, size);
    *short_of = most < size ? own : OUTPUT_BOTH;
    return take(OUTPUT_BOTH, most);
}

/* Until something has come; false if nobody is left to take it, which a payload shall notice as soon as without us. */
static bool wait_for_more(const struct stream *s)
{
    struct pollfd wait[] = {{.fd = s->in, .events = POLLIN}, {.fd = s->out, .events = 0}};
    SYS(__NR_ppoll, wait, 2, 0, 0, 8);
    return !wait[1].revents;
}

static bool write_out(const struct stream *s, size_t size)
{
    struct pollfd wait = {.fd = s->out, .events = POLLOUT};
    for (const char *data = s->data; size > 0;) {
        long n = sys_write(s->out, data, size);
        if (n == -EAGAIN) /* the caller made it so */
            SYS(__NR_ppoll, &wait, 1, 0, 0, 8);
        else if (n <= 0)
            return false;
        else {
            data += n;
            size -= (size_t)n;
        }
    }
    return true;
}

/* What was read is written or the stream is over; what may not pass is the end of it. */
static bool pass(struct stream *s, size_t size)
{
    enum output short_of = OUTPUT_BOTH;
    size_t may = s->fd ? take_of_both((enum output)s->fd, size, &short_of) : size;
    SET(s->waiting, true);
    bool good = write_out(s, may);
    if (s->fd)
        SET(relay.last_us, clock_us());
    SET(s->waiting, false);
    if (may < size)
        SET(relay.exceeded, BY_OUTPUT + short_of);
    return good && may == size;
}

/* Until what came has been passed on and no more comes, or nobody takes it any more. */
static bool run_to_end(struct stream *s)
{
    bool taken = true;
    long n = -EAGAIN; /* somebody else may have read what we were woken for */
    while ((n > 0 || n == -EAGAIN) && (taken = wait_for_more(s))) {
        n = sys_read(s->in, s->data, sizeof s->data);
        if (n > 0 && !(taken = pass(s, (size_t)n)))
            break;
    }
    return taken;
}

static void end_output(void)
{
    __atomic_sub_fetch(&relay.running, 1, __ATOMIC_SEQ_CST);
    tell();
}

static void run_pipe(void *argument)
{
    struct stream *s = argument;
    run_to_end(s);
    sys_close(s->fd ? s->in : s->out); /* the payload gets SIGPIPE, as from the caller's own pipe, or sees the end */
    if (s->fd)
        end_output();
}

/* The terminal comes later, from the jail's side, or never. */
static bool find_terminal(struct stream *s)
{
    struct pollfd known = {.fd = relay.connected, .events = POLLIN};
    SYS(__NR_ppoll, &known, 1, 0, 0, 8);
    *(s->fd ? &s->in : &s->out) = relay.terminal;
    return relay.terminal >= 0;
}

static void hang_up(void)
{
    SET(relay.hung_up, true);
    tell();
}

static void run_keys(void *argument)
{
    struct stream *s = argument;
    if (!find_terminal(s))
        return;
    bool taken = run_to_end(s);
    if (terminal_gone())
        hang_up();
    else if (taken)
        pty_say_end();
}

static void run_screen(void *argument)
{
    struct stream *s = argument;
    if (find_terminal(s) && !run_to_end(s) && !relay_exceeded())
        hang_up();
    end_output();
}

void relay_connect(int terminal)
{
    const uint64_t one = 1;
    relay.terminal = terminal;
    sys_write(relay.connected, &one, sizeof one);
}

/* Each stream by a limit of its own. */
static bool is_parted(const struct plan *plan)
{
    return plan->max_output[OUTPUT_STDOUT] != UNSET || plan->max_output[OUTPUT_STDERR] != UNSET;
}

static bool is_capped(const struct plan *plan)
{
    return plan->max_output[OUTPUT_BOTH] != UNSET || is_parted(plan);
}

bool relay_wanted(const struct plan *plan)
{
    return plan->idle_ms != UNSET || is_capped(plan) || plan->pty_line;
}

/* The caller's descriptor stands for both ends, until it is known what is at the other. */
static bool add_stream(int fd, struct stream **made, struct failure *f)
{
    struct stream *s = *made = &relay.streams[relay.count++];
    TRY(f, STEP_RELAY, 0, s->in = s->out = (int)SYS(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 3));
    s->fd = fd;
    s->payloads = -1;
    relay.running += fd != 0;
    return true;
}

static bool make_pipe(int fd, struct failure *f)
{
    struct stream *s;
    int ends[2];
    if (!add_stream(fd, &s, f))
        return false;
    TRY(f, STEP_RELAY, 0, SYS(__NR_pipe2, ends, O_CLOEXEC));
    *(fd ? &s->in : &s->out) = ends[!fd];
    s->payloads = ends[!!fd];
    if (fd) /* the payload might empty it before us */
        TRY(f, STEP_RELAY, 0, SYS(__NR_fcntl, s->in, F_SETFL, O_NONBLOCK));
    return true;
}

/* One for each direction. */
static bool make_terminal(struct failure *f)
{
    struct stream *keys, *screen;
    TRY(f, STEP_RELAY, 0, relay.connected = (int)SYS(__NR_eventfd2, 0, O_CLOEXEC | O_NONBLOCK));
    return add_stream(0, &keys, f) && add_stream(1, &screen, f);
}

/* A terminal or a socket as stdin is open for writing as a rule, and output that goes there would not be counted. */
static bool read_only_stdin(struct failure *f)
{
    struct stat st;
    long flags = SYS(__NR_fcntl, 0, F_GETFL);
    TRY(f, STEP_RELAY, 0, sys_fstat(0, &st));
    if ((flags & O_ACCMODE) == O_RDONLY || S_FORMAT(st.st_mode) == S_REGULAR)
        return true;
    if (S_FORMAT(st.st_mode) == S_SOCKET)
        return make_pipe(0, f);
    int again = sys_open(AT_FDCWD, "/proc/self/fd/0", O_RDONLY | O_NOCTTY | O_CLOEXEC, 0);
    TRY(f, STEP_STDIO, 0, again);
    TRY(f, STEP_STDIO, 0, SYS(__NR_dup3, again, 0, 0));
    sys_close(again);
    return true;
}

bool relay_make(struct run *run, struct failure *f)
{
    struct stat out, err;
    if (!relay_wanted(run->plan))
        return true;
    TRY(f, STEP_RELAY, 0, event = (int)SYS(__NR_eventfd2, 0, O_CLOEXEC | O_NONBLOCK));
    if (run->plan->pty_line)
        return make_terminal(f);
    TRY(f, STEP_RELAY, 0, sys_fstat(1, &out));
    TRY(f, STEP_RELAY, 0, sys_fstat(2, &err));
    /* Where both go to the same place, one pipe keeps their order, and what comes out of it is of either. */
    bool one = out.st_dev == err.st_dev && out.st_ino == err.st_ino && !is_parted(run->plan);
    if (!make_pipe(1, f) || (!one && !make_pipe(2, f)))
        return false;
    return !is_capped(run->plan) || read_only_stdin(f);
}

/* On the jail's side, where nothing refers to the caller's output from here on. */
bool relay_enter(struct run *run, struct failure *f)
{
    if (!relay_wanted(run->plan) || run->plan->pty_line)
        return true;
    /* The first is stdout, and stderr too where that has none of its own. */
    TRY(f, STEP_RELAY, 0, SYS(__NR_dup3, relay.streams[0].payloads, 2, 0));
    for (unsigned i = 0; i < relay.count; i++)
        TRY(f, STEP_RELAY, 0, SYS(__NR_dup3, relay.streams[i].payloads, relay.streams[i].fd, 0));
    return true;
}

/* What the payload may not write to the caller's file, we may not either; SIGXFSZ is ignored. */
static long limit_file_size(const struct plan *plan)
{
    uint64_t lower[2];
    long done = SYS(__NR_prlimit64, 0, RLIMIT_FSIZE, 0, relay.own_file_size);
    memcpy(lower, relay.own_file_size, sizeof lower);
    for (unsigned i = 0; done == 0 && i < plan->limit_count; i++)
        if (plan->limits[i].resource == RLIMIT_FSIZE && plan->limits[i].soft < lower[0]) {
            lower[0] = plan->limits[i].soft;
            done = SYS(__NR_prlimit64, 0, RLIMIT_FSIZE, lower, 0);
            relay.lowered = done == 0;
        }
    return done;
}

bool relay_start(struct run *run, struct failure *f)
{
    const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    const struct plan *plan = run->plan;
    if (!relay_wanted(plan))
        return true;
    for (unsigned i = 0; i < OUTPUTS; i++)
        relay.left[i] = plan->max_output[i] == UNSET ? INT64_MAX : plan->max_output[i];
    relay.last_us = run->start_us;
    TRY(f, STEP_RELAY, 0, limit_file_size(plan));
    for (unsigned i = 0; i < relay.count; i++) {
        struct stream *s = &relay.streams[i];
        void (*act)(void *) = !plan->pty_line ? run_pipe : s->fd ? run_screen : run_keys;
        if (!plan->pty_line)
            sys_close(s->payloads);
        if (plan->pool && !plan->pty_line) /* so that /dev/stdout and the like can be opened inside */
            TRY(f, STEP_RELAY, 0, SYS(__NR_fchown, s->fd ? s->in : s->out, run->host_uid, run->host_gid));
        TRY(f, STEP_RELAY, 0, spawn(flags, s->stack + sizeof s->stack, NULL, act, s));
    }
    return true;
}

int relay_event(void)
{
    return event;
}

void relay_hear(void)
{
    uint64_t times;
    sys_read(event, &times, sizeof times);
}

enum cause relay_exceeded(void)
{
    return GET(relay.exceeded);
}

bool relay_hung_up(void)
{
    return GET(relay.hung_up);
}

bool relay_done(void)
{
    return GET(relay.running) == 0;
}

void relay_touch(const struct run *run)
{
    SET(relay.last_us, run->start_us);
}

/* Waiting for the caller is not idle: the payload has done its part. */
int64_t relay_idle_since(void)
{
    for (unsigned i = 0; i < relay.count; i++)
        if (relay.streams[i].fd && GET(relay.streams[i].waiting))
            return clock_us();
    return GET(relay.last_us);
}

void relay_end(void)
{
    if (relay.lowered)
        SYS(__NR_prlimit64, 0, RLIMIT_FSIZE, relay.own_file_size, 0);
}
