/* What the caller of a serving jailer asks for: one message each, with descriptors. docs/plan.md has the words. */
#ifndef PYJAIL_REQUEST_H
#define PYJAIL_REQUEST_H

#include "plan.h"
#include "run.h"

enum request_kind { REQUEST_RUN, REQUEST_KEEP };

#define MOST_GIVEN (MAX_FDS + 3)
#define AS_EVER UINT32_MAX

/* The text, a file in memory, holds `words`, `variables` and `passed` ones (NAME=VALUE), each ending in NUL, `command`
 * bytes together; behind them the plan, which ends in NUL too. */
struct request {
    uint32_t kind;
    uint32_t words, variables, passed, command;
    uint32_t keep;             /* how many jails to keep ready for the plan, or AS_EVER */
    uint32_t given;            /* descriptors for the payload … */
    int32_t number[MOST_GIVEN]; /* … and what they are to it, different ones */
};

/* The descriptors that come with it, in this order; those for the payload follow. REQUEST_KEEP has the first two. */
enum { ASKED_TEXT, ASKED_LIFE, ASKED_OUTCOME, ASKED_GIVEN };

struct asked {
    struct request head;
    int fd[CHANNEL_FDS];
    unsigned count;
};

/* What the caller hears on the run's life, first of all: with a pid its pidfd comes, without one the reason. */
struct answer {
    int32_t pid, error;
};

bool request_sound(const struct request *head, size_t size, unsigned fds);

/* Its size; 0 at the end; -EBADMSG if it makes no sense, whose descriptors are closed. */
long request_receive(int socket, struct asked *a);
long request_send(int socket, const struct asked *a); /* as it came */
void request_close(struct asked *a);

/* The text, mapped: `size` bytes, or a negative errno. */
long request_map(const struct asked *a, char **text);

/* The command in a text that was mapped; false if it is not as the head says. */
bool request_command(const struct request *head, char *text, struct command *c);

/* Whether all that the plan passes is given, and nothing else: what is not would be some descriptor of ours. */
bool request_fits(const struct request *head, const struct plan *plan);

/* Move what is the payload's to its numbers, the others, and our own, out of the way. */
long request_place(struct asked *a, int *const *own, unsigned count);

/* Wait for the caller's word that the run may begin: nothing that it took for granted has changed. False if it has, or
 * the caller has ended. */
bool request_confirmed(const struct asked *a, int caller);

bool request_answer(int life, int error); /* 0: we are the run; false if nobody could be told so */

/* serve.c */
int serve(int socket, int caller);

/* main.c */
int complain_of_plan(const char *name, const struct plan_error *error);

#endif
