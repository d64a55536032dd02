/* The audit of system calls: the supervisor hears of them by user notification (seccomp_unotify(2)), counts them, and
 * refuses what the policy's own program refuses. Nothing where the plan has no audit. */
#ifndef PYJAIL_AUDIT_H
#define PYJAIL_AUDIT_H

#include "bpf.h"
#include "run.h"
#include "text.h"

/* audit_filter.c: the program that is loaded instead of the policy's, and its listener's way to the supervisor */
bool audit_prepare(const struct plan *plan, struct failure *f); /* in the supervisor, before the clone */
bool audit_begin(const struct run *run, struct failure *f);     /* in the payload, while it may do anything */
long audit_load(void);                                          /* … after which no call of it is its own */
bool audit_opens_listener(const struct seccomp_data *call);

/* audit.c */
bool audit_serve(struct run *run, struct verdict *v); /* one call; false if nothing but the end of all will do */

/* tally.c: what was heard; bounded, and it says what it could not keep */
void tally_add(const struct seccomp_data *call, uint32_t action);
long tally_denied(struct line *l, int fd);                 /* as JSON, written to fd as the line fills; 0 or -errno */
long tally_calls(struct line *l, int fd);
uint64_t tally_lost(void);
void call_write(struct line *l, uint32_t arch, uint32_t number); /* its name, whatever the number */
void tally_tell(const struct plan *plan);                  /* one line on the terminal, if stderr is one */

/* calls.c */
#define CALLS 512
const char *call_name(unsigned number);          /* of this machine's own calls; NULL if we know none */
unsigned call_telling(unsigned number);          /* the arguments that policies ask about: bit n for argument n */

#endif
