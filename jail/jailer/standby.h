/* Between the serving jailer and its standbys: a request goes there, and comes back as it was from one that would not do;
 * these come from there. */
#ifndef PYJAIL_STANDBY_H
#define PYJAIL_STANDBY_H

#include "request.h"

enum standby_news { STANDBY_READY, STANDBY_IMPOSSIBLE };

/* templates.c, in the serving jailer: which plans it has met, and the jails that stand ready for them. */
#define MOST_STANDBYS 128

struct template;
struct pollfd;

void templates_begin(int caller, int small);
struct template *templates_find(const struct asked *a); /* of the request's plan; NULL if there is no room */
bool templates_hand_over(struct template *t, const struct asked *a); /* the plan is used; whether a standby has it */
void templates_keep(struct template *t, struct asked *a);
int64_t templates_work(void);                  /* make and drop standbys; when again, or INT64_MAX */
unsigned templates_watch(struct pollfd *wait); /* the descriptors to wait for, MOST_STANDBYS at most; how many */
bool templates_hear(const struct pollfd *wait, struct asked *a); /* true: a request has come back */

/* standby_payload.c: whether the path leads through what the host has in the root, leaving out one node, or NULL */
bool leads_to_host(const struct plan *plan, const char *path, const struct node *but);

#endif
