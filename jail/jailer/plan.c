/* The plan's lines, directive by directive. Everything is checked before anything is done. */
#include "plan.h"
#include "plan_fields.h"
#include "text.h"
#include <asm/resource.h>

#define HANDLER(name) static bool name(struct parse *p, char **f)

HANDLER(take_key)
{
    p->plan->key = f[0];
    return true;
}

HANDLER(take_depends)
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
    d->kind = f[0];
    d->path = f[1];
    for (unsigned i = 2; i < p->count; i++)
        d->fact[i - 2] = f[i];
    return absolute(p, f[1]);
}

HANDLER(take_ids)
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

HANDLER(take_network)
{
    p->plan->own_network = text_equal(f[0], "none");
    p->plan->has_network = true;
    return p->plan->own_network || text_equal(f[0], "host") || refuse(p, "expected none or host, got", f[0]);
}

HANDLER(take_hostname)
{
    p->plan->hostname = f[0];
    return text_length(f[0]) <= 64 || refuse(p, "longer than 64 bytes", f[0]);
}

static struct node *add_node(struct parse *p, enum node_kind kind, char *target)
{
    struct node *n = &p->plan->nodes[p->plan->node_count++]; /* as many as lines: there is room */
    n->kind = kind;
    n->line = p->line;
    n->target = target;
    n->data = "";
    n->tree = -1;
    return n;
}

static bool take_flags(struct parse *p, char *list, unsigned *flags)
{
    static const struct {
        const char *name;
        unsigned flag;
    } known[] = {{"ro", FLAG_RO},         {"nosuid", FLAG_NOSUID},     {"nodev", FLAG_NODEV}, {"noexec", FLAG_NOEXEC},
                 {"rec", FLAG_REC},       {"optional", FLAG_OPTIONAL}, {"owner", FLAG_OWNER}, {"device", FLAG_DEVICE}};
    if (text_equal(list, "-"))
        return true;
    for (char *next; list; list = next) {
        char *end = list;
        while (*end && *end != ',')
            end++;
        next = *end ? end + 1 : NULL;
        *end = 0;
        size_t i = 0;
        while (i < COUNT(known) && !text_equal(known[i].name, list))
            i++;
        if (i == COUNT(known))
            return refuse(p, "unknown flag", list);
        *flags |= known[i].flag;
    }
    return true;
}

HANDLER(take_mount)
{
    static const char *const types[] = {
        [NODE_TMPFS] = "tmpfs", [NODE_BIND] = "bind", [NODE_PROC] = "proc", [NODE_DEVPTS] = "devpts"};
    unsigned kind = 0;
    while (kind < COUNT(types) && !text_equal(types[kind], f[0]))
        kind++;
    if (kind == COUNT(types))
        return refuse(p, "unknown type", f[0]);
    bool first = p->plan->node_count == 0;
    struct node *n = add_node(p, kind, f[1]);
    n->data = f[3];
    if (!take_flags(p, f[2], &n->flags))
        return false;
    if (first && (!text_equal(f[1], "/") || (kind != NODE_TMPFS && kind != NODE_BIND)))
        return refuse(p, "the first mount must be a tmpfs or bind with target /, not", f[1]);
    if (kind != NODE_BIND && (n->flags & (FLAG_REC | FLAG_OPTIONAL | FLAG_OWNER | FLAG_DEVICE)))
        return refuse(p, "rec, optional, owner and device go with bind only", NULL);
    if (kind == NODE_BIND && !absolute(p, f[3]))
        return false;
    return first || inside(p, f[1]);
}

static bool rooted(struct parse *p, const char *target)
{
    if (p->plan->node_count == 0)
        return refuse(p, "the root must be mounted first", NULL);
    return inside(p, target);
}

HANDLER(take_mask)
{
    if (!rooted(p, f[0]))
        return false;
    add_node(p, NODE_MASK, f[0]);
    return true;
}

static bool take_mode(struct parse *p, const char *s, unsigned *mode)
{
    uint64_t value;
    if (!number(p, s, 8, 07777, &value))
        return false;
    *mode = (unsigned)value;
    return true;
}

HANDLER(take_dir)
{
    return rooted(p, f[0]) && take_mode(p, f[1], &add_node(p, NODE_DIR, f[0])->mode);
}

HANDLER(take_file)
{
    if (!rooted(p, f[0]))
        return false;
    struct node *n = add_node(p, NODE_FILE, f[0]);
    n->data = f[2];
    n->data_length = text_length(f[2]);
    return take_mode(p, f[1], &n->mode);
}

HANDLER(take_symlink)
{
    if (!rooted(p, f[0]))
        return false;
    add_node(p, NODE_SYMLINK, f[0])->data = f[1];
    return *f[1] || refuse(p, "an empty target", NULL);
}

static bool limit_value(struct parse *p, char *s, uint64_t *out)
{
    *out = ~0ULL;
    return text_equal(s, "infinity") || number(p, s, 10, INT64_MAX, out);
}

HANDLER(take_rlimit)
{
    static const char *const names[] = {
        [RLIMIT_CPU] = "cpu",         [RLIMIT_FSIZE] = "fsize",     [RLIMIT_DATA] = "data",
        [RLIMIT_STACK] = "stack",     [RLIMIT_CORE] = "core",       [RLIMIT_RSS] = "rss",
        [RLIMIT_NPROC] = "nproc",     [RLIMIT_NOFILE] = "nofile",   [RLIMIT_MEMLOCK] = "memlock",
        [RLIMIT_AS] = "as",           [RLIMIT_LOCKS] = "locks",     [RLIMIT_SIGPENDING] = "sigpending",
        [RLIMIT_MSGQUEUE] = "msgqueue", [RLIMIT_NICE] = "nice",     [RLIMIT_RTPRIO] = "rtprio",
        [RLIMIT_RTTIME] = "rttime"};
    unsigned resource = 0;
    while (resource < COUNT(names) && !text_equal(names[resource], f[0]))
        resource++;
    if (resource == COUNT(names))
        return refuse(p, "unknown resource", f[0]);
    for (unsigned i = 0; i < p->plan->limit_count; i++)
        if (p->plan->limits[i].resource == resource)
            return refuse(p, "stands twice:", f[0]);
    struct limit *l = &p->plan->limits[p->plan->limit_count++];
    *l = (struct limit){.name = names[resource], .resource = resource, .line = p->line};
    if (!limit_value(p, f[1], &l->soft) || !limit_value(p, f[2], &l->hard))
        return false;
    if (l->soft > l->hard)
        return refuse(p, "soft is above hard", NULL);
    l->exact = text_equal(f[3], "exact");
    return l->exact || text_equal(f[3], "at-most") || refuse(p, "expected exact or at-most, got", f[3]);
}

HANDLER(take_cgroup)
{
    struct plan *plan = p->plan;
    if (!text_equal(f[0], "v1"))
        return refuse(p, "unknown version", f[0]);
    if (plan->cgroup_count == MAX_CGROUPS)
        return refuse(p, "too many lines of this kind", NULL);
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        if (text_equal(plan->cgroups[i].controller, f[1]))
            return refuse(p, "stands twice:", f[1]);
    plan->cgroups[plan->cgroup_count++] = (struct cgroup){
        .controller = f[1], .mountpoint = f[2], .mountroot = f[3], .line = p->line, .parent = -1, .folder = -1};
    return plain_name(p, f[1]) && absolute(p, f[2]) && absolute(p, f[3]);
}

HANDLER(take_cgroup_set)
{
    struct plan *plan = p->plan;
    if (plan->setting_count == COUNT(plan->settings))
        return refuse(p, "too many lines of this kind", NULL);
    bool required = text_equal(f[3], "required");
    if (!required && !text_equal(f[3], "optional"))
        return refuse(p, "expected required or optional, got", f[3]);
    plan->settings[plan->setting_count++] =
        (struct setting){.controller = f[0], .file = f[1], .value = f[2], .line = p->line, .required = required};
    return plain_name(p, f[1]);
}

HANDLER(take_capabilities)
{
    p->plan->has_capabilities = true;
    return number(p, f[0], 16, UINT64_MAX, &p->plan->capabilities);
}

HANDLER(take_landlock)
{
    struct plan *plan = p->plan;
    if (plan->rule_count == MAX_RULES)
        return refuse(p, "too many lines of this kind", NULL);
    bool writable = text_equal(f[0], "rw");
    if (!writable && !text_equal(f[0], "ro"))
        return refuse(p, "expected ro or rw, got", f[0]);
    plan->rules[plan->rule_count++] = (struct rule){.path = f[1], .line = p->line, .writable = writable};
    return absolute(p, f[1]);
}

HANDLER(take_landlock_need)
{
    p->plan->has_landlock_need = true;
    p->plan->landlock_required = text_equal(f[0], "required");
    return p->plan->landlock_required || text_equal(f[0], "optional") ||
           refuse(p, "expected required or optional, got", f[0]);
}

HANDLER(take_seccomp)
{
    struct plan *plan = p->plan;
    size_t digits = text_length(f[1]);
    if (digits == 0 || digits % 16 || digits / 16 > MAX_PROGRAM)
        return refuse(p, "a program is 1 to 4096 instructions of 16 hex digits", NULL);
    plan->seccomp_name = f[0];
    plan->program_count = (unsigned)(digits / 16);
    plan->program = (struct sock_filter *)(void *)take_memory(p, plan->program_count * sizeof *plan->program);
    for (unsigned i = 0; i < plan->program_count; i++) {
        uint64_t value;
        char word[17];
        memcpy(word, f[1] + i * 16, 16);
        word[16] = 0;
        if (!number(p, word, 16, UINT64_MAX, &value))
            return false;
        plan->program[i] = (struct sock_filter){(uint16_t)(value >> 48), (uint8_t)(value >> 40), (uint8_t)(value >> 32),
                                                (uint32_t)value};
    }
    return true;
}

HANDLER(take_umask)
{
    uint64_t mode;
    if (!number(p, f[0], 8, 0777, &mode))
        return false;
    p->plan->umask = (int)mode;
    return true;
}

HANDLER(take_cwd)
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

HANDLER(take_env)
{
    return add_variable(p, f[0], false);
}

HANDLER(take_env_pass)
{
    return add_variable(p, f[0], true);
}

HANDLER(take_pass_fd)
{
    struct plan *plan = p->plan;
    uint64_t fd;
    if (plan->pass_fd_count == MAX_FDS)
        return refuse(p, "too many lines of this kind", NULL);
    if (!number(p, f[0], 10, 65535, &fd))
        return false;
    if (fd < 3)
        return refuse(p, "0, 1 and 2 are passed always; expected 3 or more, got", f[0]);
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        if (plan->pass_fds[i] == (int)fd)
            return refuse(p, "stands twice:", f[0]);
    plan->pass_fds[plan->pass_fd_count++] = (int)fd;
    return true;
}

static bool milliseconds(struct parse *p, char *s, int64_t *out)
{
    uint64_t value;
    if (!number(p, s, 10, 1000ULL * 3600 * 24 * 3660, &value))
        return false;
    *out = (int64_t)value;
    return true;
}

HANDLER(take_timeout)
{
    return milliseconds(p, f[0], &p->plan->timeout_ms) && (p->plan->timeout_ms > 0 || refuse(p, "must be above 0", NULL));
}

HANDLER(take_grace)
{
    return milliseconds(p, f[0], &p->plan->grace_ms);
}

HANDLER(take_outcome)
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

HANDLER(take_enforced)
{
    if (p->plan->enforced_count == MAX_ENFORCED)
        return refuse(p, "too many lines of this kind", NULL);
    p->plan->enforced[p->plan->enforced_count++] = (struct pair){f[0], f[1]};
    return true;
}

HANDLER(take_argv)
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
    {"capabilities", 1, 1, true, take_capabilities},
    {"landlock", 2, 2, false, take_landlock},
    {"landlock-need", 1, 1, true, take_landlock_need},
    {"seccomp", 2, 2, true, take_seccomp},
    {"umask", 1, 1, true, take_umask},
    {"cwd", 1, 1, true, take_cwd},
    {"env", 1, 1, false, take_env},
    {"env-pass", 1, 1, false, take_env_pass},
    {"pass-fd", 1, 1, false, take_pass_fd},
    {"timeout", 1, 1, true, take_timeout},
    {"grace", 1, 1, true, take_grace},
    {"outcome", 2, 2, true, take_outcome},
    {"enforced", 2, 2, false, take_enforced},
    {"argv", 1, 1, false, take_argv},
};

bool plan_parse(struct plan *plan, char *text, size_t size, struct plan_error *error)
{
    return parse_lines(plan, text, size, error, directives, COUNT(directives));
}
