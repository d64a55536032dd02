/* What connections and the requests on them share: peers.c has the connections, asks.c does what is asked. */
#ifndef PYJAIL_ASKS_H
#define PYJAIL_ASKS_H

#include "peers.h"

struct peer {
    int fd;
    bool caller;     /* whose end is the jail's */
    bool silent;     /* anything that comes is the caller's end, and no request */
    bool subscribed; /* to events */
    bool listener;   /* no connection, but where they come */
    bool deaf;       /* has not read an answer: nothing but its end counts any more */
    bool pausing;    /* is answered when the jail is paused, and not heard before */
    uint64_t lost;   /* events since the last that got through */
    uint32_t command; /* the number of the one that was asked for here, or 0: what is asked now is for that */
    bool running;    /* … as far as we know */
    bool entering;   /* … and not known to be in the run's cgroups */
    uint64_t owed;   /* signals that init had no room for, a bit each */
    bool parted;     /* … and when it has had, the connection goes */
    int64_t since_us;
    struct failure failure; /* of its start */
    char name[128];
};

struct request {
    struct watch *watch;
    struct run *run;
    struct peer *peer;
    const char *argument; /* what follows the word, or "" */
    const int *fds;
    unsigned count;
    struct line *answer;  /* NULL: there is none, or it comes later */
};

/* peers.c */
long peers_add(int fd); /* a copy of it, as another connection; -errno */
bool peer_say(const struct peer *p, struct line *l);
void peer_signal_command(const struct run *run, struct peer *p, int signal);
void event_write(struct line *l, const struct run *run, const char *name, const char *more, uint64_t lost);

/* asks.c: 0 or -errno */
long ask(struct request *r, char *text);
void peer_refuse(struct line *l, long error); /* the answer to what failed */

#endif
