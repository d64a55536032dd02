/* The plan's lines, directive by directive. Everything is checked before anything is done. */
#include "plan.h"
#include "plan_fields.h"
#include "text.h"

static HANDLER(take_key)
{
    p->plan->key = f[0];
    return true;
}

static HANDLER(take_depends)
{
    struct plan *plan = p->plan;
    bool absent = text_equal(f[0], "absent");
    if (!absent && !text_equal(f[0], "file") && !text_equal(f[0], "dir") && !text_equal(f[0], "symlink") &&
        !text_equal(f[0], "other"))
        return refuse(p, "unknown kind", f[0]);
    if (p->count != (absent ? 2 : 7))
        return refuse(p, "wrong number of fields", NULL);
    if (plan->depend_count == MAX_DEPENDS)
        return refuse(p, "too many lines of this kind", NULL);
    struct dependency *d = &plan->depends[plan->depend_count++];
    *d = (struct dependency){.kind = f[0], .path = f[1]};
    for (unsigned i = 2; i < p->count; i++)
        d->fact[i - 2] = f[i];
    return absolute(p, f[1]);
}

static HANDLER(take_ids)
{
    struct plan *plan = p->plan;
    uint64_t first = 0, count = 0;
    if (!number(p, f[0], 10, 0xfffffffe, &first) || !number(p, f[1], 10, 0xfffffffe, &count))
        return false;
    plan->uid = (unsigned)first;
    plan->gid = (unsigned)count;
    plan->has_ids = true;
    plan->ids_line = p->line;
    plan->pool = text_equal(f[2], "pool");
    if (!plan->pool && !text_equal(f[2], "caller"))
        return refuse(p, "expected caller or pool, got", f[2]);
    if (p->count != (plan->pool ? 6 : 3))
        return refuse(p, "wrong number of fields", NULL);
    if (!plan->pool)
        return true;
    if (!number(p, f[3], 10, 0xfffffffe, &first) || !number(p, f[4], 10, 0x100000, &count))
        return false;
    if (first == 0 || count == 0 || first + count > 0xffffffff)
        return refuse(p, "a pool may not hold id 0 or 4294967295, nor be empty", NULL);
    plan->pool_first = (unsigned)first;
    plan->pool_count = (unsigned)count;
    plan->pool_lock = f[5];
    return absolute(p, f[5]);
}

static HANDLER(take_network)
{
    p->plan->own_network = text_equal(f[0], "none");
    p->plan->has_network = true;
    return p->plan->own_network || text_equal(f[0], "host") || refuse(p, "expected none or host, got", f[0]);
}

static HANDLER(take_hostname)
{
    p->plan->hostname = f[0];
    return text_length(f[0]) <= 64 || refuse(p, "longer than 64 bytes", f[0]);
}

static HANDLER(take_umask)
{
    uint64_t mode;
    if (!number(p, f[0], 8, 0777, &mode))
        return false;
    p->plan->umask = (int)mode;
    return true;
}

static HANDLER(take_cwd)
{
    p->plan->cwd = f[0];
    return absolute(p, f[0]);
}

static bool add_variable(struct parse *p, char *text, bool pass)
{
    p->plan->variables[p->plan->variable_count++] = (struct variable){text, pass};
    const char *equals = text;
    while (*equals && *equals != '=')
        equals++;
    if (equals == text || (*equals == '=') == pass)
        return refuse(p, pass ? "expected NAME, got" : "expected NAME=VALUE, got", text);
    return true;
}

static HANDLER(take_env)
{
    return add_variable(p, f[0], false);
}

static HANDLER(take_env_pass)
{
    return add_variable(p, f[0], true);
}

/* One more descriptor among those of its kind, each of which may stand once. */
static bool add_descriptor(struct parse *p, char *text, int *known, unsigned *count, unsigned most)
{
    uint64_t fd;
    if (*count == most)
        return refuse(p, "too many lines of this kind", NULL);
    if (!number(p, text, 10, 65535, &fd))
        return false;
    if (fd < 3)
        return refuse(p, "0, 1 and 2 are the payload's always; expected 3 or more, got", text);
    for (unsigned i = 0; i < *count; i++)
        if (known[i] == (int)fd)
            return refuse(p, "stands twice:", text);
    known[(*count)++] = (int)fd;
    return true;
}

static HANDLER(take_pass_fd)
{
    return add_descriptor(p, f[0], p->plan->pass_fds, &p->plan->pass_fd_count, MAX_FDS);
}

static HANDLER(take_life_fd)
{
    unsigned count = 0;
    return add_descriptor(p, f[0], &p->plan->life_fd, &count, 1);
}

static HANDLER(take_control_fd)
{
    unsigned count = 0;
    return add_descriptor(p, f[0], &p->plan->control_fd, &count, 1);
}

/* A number alone would be a pid, which is what runs without a name are found by. */
static HANDLER(take_name)
{
    bool plain = f[0][0] != '.' && f[0][0] != '-' && text_length(f[0]) <= MAX_NAME, number = true;
    for (const char *c = f[0]; *c; c++) {
        bool digit = *c >= '0' && *c <= '9';
        plain &= digit || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '-' || *c == '_' || *c == '.';
        number &= digit;
    }
    p->plan->name = f[0];
    p->plan->name_line = p->line;
    return (plain && !number) || refuse(p, "expected at most 64 letters, digits, - _ and ., not digits alone, got", f[0]);
}

static HANDLER(take_await_begin)
{
    (void)f;
    p->plan->await_begin = true;
    return true;
}

#define MOST_MILLISECONDS (1000ULL * 3600 * 24 * 3660)

static bool whole(struct parse *p, char *s, uint64_t least, uint64_t most, int64_t *out)
{
    uint64_t value;
    if (!number(p, s, 10, most, &value))
        return false;
    *out = (int64_t)value;
    return value >= least || refuse(p, "must be above 0", NULL);
}

static HANDLER(take_timeout)
{
    return whole(p, f[0], 1, MOST_MILLISECONDS, &p->plan->timeout_ms);
}

static HANDLER(take_grace)
{
    return whole(p, f[0], 0, MOST_MILLISECONDS, &p->plan->grace_ms);
}

static HANDLER(take_idle_timeout)
{
    return whole(p, f[0], 1, MOST_MILLISECONDS, &p->plan->idle_ms);
}

static HANDLER(take_cpu_time)
{
    p->plan->cpu_line = p->line;
    return whole(p, f[0], 1, MOST_MILLISECONDS, &p->plan->cpu_ms);
}

static HANDLER(take_max_output)
{
    static const char *const names[] = {"both", "stdout", "stderr"};
    unsigned i = 0;
    while (i < OUTPUTS && !text_equal(names[i], f[0]))
        i++;
    if (i == OUTPUTS)
        return refuse(p, "expected both, stdout or stderr, got", f[0]);
    if (p->plan->max_output[i] != UNSET)
        return refuse(p, "stands twice:", f[0]);
    return whole(p, f[1], 0, INT64_MAX, &p->plan->max_output[i]);
}

static HANDLER(take_stats)
{
    (void)f;
    p->plan->stats = true;
    return true;
}

static HANDLER(take_notify)
{
    (void)f;
    p->plan->notify_line = p->line;
    return true;
}

static HANDLER(take_listen_fds)
{
    (void)f;
    p->plan->listen_line = p->line;
    return true;
}

static HANDLER(take_pty)
{
    (void)f;
    p->plan->pty_line = p->line;
    return true;
}

static HANDLER(take_outcome)
{
    uint64_t fd;
    p->plan->outcome_line = p->line;
    if (text_equal(f[0], "file")) {
        p->plan->outcome_file = f[1];
        return absolute(p, f[1]);
    }
    if (!text_equal(f[0], "fd"))
        return refuse(p, "expected fd or file, got", f[0]);
    if (!number(p, f[1], 10, 65535, &fd))
        return false;
    if (fd < 3)
        return refuse(p, "0, 1 and 2 are the payload's own; expected 3 or more, got", f[1]);
    p->plan->outcome_fd = (int)fd;
    return true;
}

static HANDLER(take_enforced)
{
    if (p->plan->enforced_count == MAX_ENFORCED)
        return refuse(p, "too many lines of this kind", NULL);
    p->plan->enforced[p->plan->enforced_count++] = (struct pair){f[0], f[1]};
    return true;
}

static HANDLER(take_argv)
{
    p->plan->argv[p->plan->argc++] = f[0];
    return true;
}

static const struct directive directives[] = {
    {"key", 1, 1, true, take_key},
    {"depends", 2, 7, false, take_depends},
    {"ids", 3, 6, true, take_ids},
    {"network", 1, 1, true, take_network},
    {"hostname", 1, 1, true, take_hostname},
    {"mount", 4, 4, false, take_mount},
    {"mask", 1, 1, false, take_mask},
    {"dir", 2, 2, false, take_dir},
    {"file", 3, 3, false, take_file},
    {"symlink", 2, 2, false, take_symlink},
    {"rlimit", 4, 4, false, take_rlimit},
    {"cgroup", 4, 4, false, take_cgroup},
    {"cgroup-set", 4, 4, false, take_cgroup_set},
    {"freezer", 2, 2, true, take_freezer},
    {"scope", 1, 1, false, take_scope},
    {"capabilities", 1, 1, true, take_capabilities},
    {"landlock", 2, 2, false, take_landlock},
    {"landlock-need", 1, 1, true, take_landlock_need},
    {"seccomp", 2, 2, true, take_seccomp},
    {"audit", 1, 1, true, take_audit},
    {"umask", 1, 1, true, take_umask},
    {"cwd", 1, 1, true, take_cwd},
    {"env", 1, 1, false, take_env},
    {"env-pass", 1, 1, false, take_env_pass},
    {"pass-fd", 1, 1, false, take_pass_fd},
    {"life-fd", 1, 1, true, take_life_fd},
    {"control-fd", 1, 1, true, take_control_fd},
    {"await-begin", 0, 0, true, take_await_begin},
    {"name", 1, 1, true, take_name},
    {"timeout", 1, 1, true, take_timeout},
    {"grace", 1, 1, true, take_grace},
    {"idle-timeout", 1, 1, true, take_idle_timeout},
    {"cpu-time", 1, 1, true, take_cpu_time},
    {"max-output", 2, 2, false, take_max_output},
    {"pty", 0, 0, true, take_pty},
    {"outcome", 2, 2, true, take_outcome},
    {"stats", 0, 0, true, take_stats},
    {"notify", 0, 0, true, take_notify},
    {"listen-fds", 0, 0, true, take_listen_fds},
    {"enforced", 2, 2, false, take_enforced},
    {"argv", 1, 1, false, take_argv},
};

bool plan_parse(struct plan *plan, char *text, size_t size, struct plan_error *error)
{
    return parse_lines(plan, text, size, error, directives, COUNT(directives)) && plan_complete(plan, error);
}

static const struct directive of_command[] = {{"argv", 1, 1, false, take_argv}, {"env", 1, 1, false, take_env}};

static bool parse_command(struct plan *plan, char *text, size_t size, struct plan_error *error)
{
    return parse_lines(plan, text, size, error, of_command, COUNT(of_command)) && plan->argc > 0;
}

bool plan_read(struct plan *plan, int fd, struct plan_error *error)
{
    return plan_take(plan, fd, error, plan_parse);
}

bool plan_read_command(struct plan *plan, int fd, struct plan_error *error)
{
    return plan_take(plan, fd, error, parse_command);
}
