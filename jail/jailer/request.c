#include "request.h"
#include "text.h"
#include <linux/mman.h>
#include <linux/poll.h>

#define PROT_RW 3

bool request_sound(const struct request *head, size_t size, unsigned fds)
{
    const size_t least = offsetof(struct request, number);
    bool run = size >= least && head->kind == REQUEST_RUN;
    if (size < least || head->given > MOST_GIVEN || size != least + head->given * sizeof head->number[0])
        return false;
    if (!run && (head->kind != REQUEST_KEEP || head->given || head->command))
        return false;
    if (fds != (run ? ASKED_GIVEN + head->given : ASKED_OUTCOME))
        return false;
    for (unsigned i = 0; i < head->given; i++) {
        if (head->number[i] < 0 || head->number[i] > 65535)
            return false;
        for (unsigned j = 0; j < i; j++)
            if (head->number[i] == head->number[j])
                return false;
    }
    return true;
}

void request_close(struct asked *a)
{
    for (unsigned i = 0; i < a->count; i++)
        sys_close(a->fd[i]);
    a->count = 0;
}

long request_receive(int socket, struct asked *a)
{
    long n = channel_hear(socket, &a->head, sizeof a->head, a->fd, &a->count);
    if (n <= 0 || request_sound(&a->head, (size_t)n, a->count))
        return n;
    request_close(a);
    return -EBADMSG;
}

long request_send(int socket, const struct asked *a)
{
    size_t size = offsetof(struct request, number) + a->head.given * sizeof a->head.number[0];
    return channel_send(socket, &a->head, size, a->fd, a->count);
}

long request_map(const struct asked *a, char **text)
{
    struct stat st = {0};
    long done = sys_fstat(a->fd[ASKED_TEXT], &st);
    if (done < 0)
        return done;
    if (st.st_size <= a->head.command)
        return -EBADMSG;
    done = SYS(__NR_mmap, 0, st.st_size, PROT_RW, MAP_PRIVATE, a->fd[ASKED_TEXT], 0);
    if (done < 0 && done > -4096)
        return done;
    *text = (char *)done;
    return st.st_size;
}

/* The next `count` strings of those that end before `end`, as a list that ends in NULL. */
static bool list(char **out, uint32_t count, char **at, const char *end)
{
    for (uint32_t i = 0; i < count; i++) {
        out[i] = *at;
        while (*at < end && **at)
            ++*at;
        if (*at == end)
            return false;
        ++*at;
    }
    out[count] = NULL;
    return true;
}

bool request_command(const struct request *head, char *text, struct command *c)
{
    size_t strings = (size_t)head->words + head->variables + head->passed, room = (strings + 3) * sizeof(char *);
    if (strings > head->command) /* each has a NUL at least */
        return false;
    long memory = SYS(__NR_mmap, 0, room, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -4096)
        return false;
    char *at = text, *end = text + head->command, **lists = (char **)memory;
    *c = (struct command){.words = lists, .word_count = head->words, .variable_count = head->variables};
    c->variables = c->words + head->words + 1;
    c->environment = c->variables + head->variables + 1;
    return list(c->words, head->words, &at, end) && list(c->variables, head->variables, &at, end) &&
           list(c->environment, head->passed, &at, end) && at == end;
}

static bool is_number(const struct request *head, int fd)
{
    for (unsigned i = 0; i < head->given; i++)
        if (head->number[i] == fd)
            return true;
    return false;
}

bool request_fits(const struct request *head, const struct plan *plan)
{
    unsigned streams = 0;
    for (int fd = 0; fd <= 2; fd++)
        streams += is_number(head, fd);
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        if (!is_number(head, plan->pass_fds[i]))
            return false;
    return head->given == streams + plan->pass_fd_count;
}

static long clear(const struct request *head, int *fd, int above)
{
    long copy = is_number(head, *fd) ? SYS(__NR_fcntl, *fd, F_DUPFD_CLOEXEC, above) : *fd;
    if (copy >= 0)
        *fd = (int)copy;
    return copy;
}

long request_place(struct asked *a, int *const *own, unsigned count)
{
    const struct request *head = &a->head;
    int above = 3;
    long done = 0;
    for (unsigned i = 0; i < head->given; i++)
        above = head->number[i] >= above ? head->number[i] + 1 : above;
    for (unsigned i = 0; i < a->count && done >= 0; i++)
        done = clear(head, &a->fd[i], above);
    for (unsigned i = 0; i < count && done >= 0; i++)
        done = *own[i] < 0 ? 0 : clear(head, own[i], above);
    for (unsigned i = 0; i < head->given && done >= 0; i++)
        done = SYS(__NR_dup3, a->fd[ASKED_GIVEN + i], head->number[i], 0);
    return done;
}

bool request_confirmed(const struct asked *a, int caller)
{
    struct pollfd wait[] = {{.fd = a->fd[ASKED_LIFE], .events = POLLIN}, {.fd = caller, .events = POLLIN}};
    char word;
    SYS(__NR_ppoll, wait, COUNT(wait), 0, 0, 8);
    return !wait[1].revents && sys_read(a->fd[ASKED_LIFE], &word, 1) == 1;
}

bool request_answer(int life, int error)
{
    long pid = SYS_0(__NR_getpid);
    int pidfd = error ? -error : (int)SYS(__NR_pidfd_open, pid, 0);
    struct answer said = {.pid = (int32_t)pid};
    if (pidfd < 0)
        said = (struct answer){.error = -pidfd};
    long done = channel_send(life, &said, sizeof said, &pidfd, pidfd >= 0);
    if (pidfd >= 0)
        sys_close(pidfd);
    return pidfd >= 0 && done >= 0;
}
