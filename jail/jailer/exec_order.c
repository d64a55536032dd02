/* The supervisor's part in executing another command: what it is, and all that it shall be confined by. */
#include "exec.h"
#include "text.h"

#define MEMFD_CLOSE_ON_EXEC 1
#define GET_SEALS 1034 /* F_GET_SEALS */
#define FROM_START 0

struct file {
    int fd;
    long error;
};

static void put(struct file *f, const void *data, size_t size)
{
    if (f->error >= 0)
        f->error = sys_write_all(f->fd, data, size);
}

static void put_text(struct file *f, const char *text)
{
    put(f, text, text_length(text) + 1);
}

static size_t name_length(const char *variable)
{
    size_t n = 0;
    while (variable[n] && variable[n] != '=')
        n++;
    return n;
}

static bool has_variable(const struct plan *command, const char *variable, unsigned from)
{
    size_t n = name_length(variable);
    for (unsigned i = from; i < command->variable_count; i++)
        if (name_length(command->variables[i].text) == n && memcmp(command->variables[i].text, variable, n) == 0)
            return true;
    return false;
}

/* The payload's, and over them the command's own. */
static unsigned put_environment(struct file *f, const struct run *run, const struct plan *command)
{
    unsigned count = 0;
    for (char **v = run->environment; *v; v++)
        if (!has_variable(command, *v, 0)) {
            put_text(f, *v);
            count++;
        }
    for (unsigned i = 0; i < command->variable_count; i++)
        if (!has_variable(command, command->variables[i].text, i + 1)) {
            put_text(f, command->variables[i].text);
            count++;
        }
    return count;
}

static long write_brief(struct file *f, const struct run *run, const struct plan *command)
{
    const struct plan *plan = run->plan;
    struct brief b = {.umask = (uint32_t)plan->umask,
                      .limit_count = plan->limit_count,
                      .rule_count = plan->rule_count,
                      .program_count = plan->program_count,
                      .argc = command->argc,
                      .landlock_required = plan->landlock_required,
                      .fault = step_fault_of_commands()};
    for (unsigned i = 0; i < plan->limit_count; i++) {
        b.limits[i].resource = plan->limits[i].resource;
        b.limits[i].line = plan->limits[i].line;
        b.limits[i].exact = plan->limits[i].exact;
        b.limits[i].soft = plan->limits[i].soft;
        b.limits[i].hard = plan->limits[i].hard;
    }
    for (unsigned i = 0; i < plan->rule_count; i++)
        b.rule_lines[i] = plan->rules[i].line;
    put(f, &b, sizeof b);
    put(f, plan->program, plan->program_count * sizeof *plan->program);
    put_text(f, plan->cwd ? plan->cwd : "/");
    for (unsigned i = 0; i < plan->rule_count; i++) {
        put(f, plan->rules[i].writable ? "w" : "r", 1);
        put_text(f, plan->rules[i].path);
    }
    for (unsigned i = 0; i < command->argc; i++)
        put_text(f, command->argv[i]);
    b.envc = put_environment(f, run, command);
    if (f->error >= 0)
        f->error = SYS(__NR_lseek, f->fd, 0, FROM_START);
    put(f, &b, sizeof b);
    return f->error;
}

static long hand_over(struct run *run, const int *fds, int brief, uint32_t id)
{
    struct order o = {.whom = NEW_COMMAND, .command = id};
    struct failure failure = {0};
    struct gates g;
    int all[EXEC_GATES + MAX_CGROUPS];
    unsigned gates = cgroups_gated(run->plan);
    if (!cgroups_open(run, &g, &failure))
        return failure.error == ENOENT || failure.error == EBADF ? -ESRCH : -(long)failure.error;
    memcpy(all, fds, EXEC_BRIEF * sizeof(int));
    all[EXEC_BRIEF] = brief;
    memcpy(all + EXEC_GATES, g.in, gates * sizeof(int));
    long done = channel_send(run->control[0], &o, sizeof o, all, EXEC_GATES + gates);
    for (unsigned i = 0; i < gates; i++) {
        sys_close(g.in[i]);
        sys_close(g.out[i]);
    }
    return done == -EPIPE || done == -ECONNRESET ? -ESRCH : done;
}

/* Reading what is no file in memory could wait for somebody. */
static long read_command(struct plan *command, int fd)
{
    struct plan_error error;
    if (SYS(__NR_fcntl, fd, GET_SEALS) < 0)
        return -EINVAL;
    return plan_read_command(command, fd, &error) ? 0 : -EINVAL;
}

long exec_order(struct run *run, const int *fds, uint32_t id, char *name, size_t room)
{
    static struct plan command;
    struct file f = {.fd = (int)SYS(__NR_memfd_create, "pyjail-command", MEMFD_CLOSE_ON_EXEC)};
    if (f.fd < 0)
        return f.fd;
    long done = read_command(&command, fds[EXEC_BRIEF]);
    if (done >= 0)
        done = write_brief(&f, run, &command);
    if (done >= 0)
        done = hand_over(run, fds, f.fd, id);
    if (done >= 0) {
        struct line l = {name, room, 0, false};
        line_text(&l, command.argv[0]);
    }
    plan_release(&command);
    sys_close(f.fd);
    return done < 0 ? done : 0;
}
