/* Failures told to people: one sentence, and what to do about it. */
#ifndef PYJAIL_REPORT_H
#define PYJAIL_REPORT_H

#include "plan.h"
#include "step.h"
#include "text.h"

/* "cannot STEP 'OBJECT': reason (ERRNO, plan line N)" */
void report_sentence(struct line *out, const struct plan *plan, const struct failure *failure, const char *object);

/* A remedy for the commonest causes on known hosts, or NULL. */
const char *report_hint(const struct failure *failure);

/* What the failure is about: the plan's object of that line, or the command for exec. */
const char *report_object(const struct plan *plan, const struct failure *failure, const char *command);

/* On stderr: "pyjail: …" and the hint on a second line. */
void report(const struct plan *plan, const struct failure *failure, const char *command);

#endif
