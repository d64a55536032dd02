/* Further commands in a running jail. The supervisor only hands over: init, which is in all of the jail's namespaces
 * and has none of its rights to lose, forks what becomes the command. So nothing that is privileged, or has memory of
 * the caller, ever is where the payload could reach for it. */
#ifndef PYJAIL_EXEC_H
#define PYJAIL_EXEC_H

#include "run.h"

#define MAX_COMMANDS 32 /* at once */

/* What init is told of a command, at the beginning of a file in memory; then come the filter's instructions, then
 * strings: the folder to start in, the rules of Landlock behind a letter each (r or w), the words, the environment. */
struct brief {
    uint32_t umask, limit_count, rule_count, program_count, argc, envc, landlock_required, fault;
    struct {
        uint32_t resource, line, exact, rule_line;
        uint64_t soft, hard;
    } limits[MAX_LIMITS];
    uint32_t rule_lines[MAX_RULES];
};

/* The descriptors that go with the order: those of the command, the brief, and the ways into the cgroups. */
enum { EXEC_BRIEF = 3, EXEC_GATES = 4 };

/* exec_order.c, in the supervisor: tell init to execute what the fds say, as command number `id`; 0 or -errno */
long exec_order(struct run *run, const int *fds, uint32_t id, char *name, size_t room);

/* exec_init.c, in init */
void exec_command(const struct order *order, const int *fds, unsigned count);
bool exec_ended(int pid, int wait_status, int64_t user_us, int64_t system_us); /* whether it was a command */
void exec_signal(const struct order *order);

#endif
