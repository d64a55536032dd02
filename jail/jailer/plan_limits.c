/* The plan's lines that limit and confine. */
#include "plan_fields.h"
#include "text.h"
#include <asm/resource.h>

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
    unsigned version = text_equal(f[0], "v1") ? 1 : text_equal(f[0], "v2") ? 2 : 0;
    if (!version)
        return refuse(p, "unknown version", f[0]);
    if (plan->cgroup_count == MAX_CGROUPS)
        return refuse(p, "too many lines of this kind", NULL);
    for (unsigned i = 0; i < plan->cgroup_count; i++) /* in a hierarchy a run has one cgroup */
        if (version == plan->cgroups[i].version && (version == 2 || text_equal(plan->cgroups[i].mountpoint, f[2])))
            return refuse(p, "stands twice:", f[2]);
    plan->cgroups[plan->cgroup_count++] = (struct cgroup){
        .version = version, .controllers = f[1], .mountpoint = f[2], .mountroot = f[3], .line = p->line,
        .parent = -1, .folder = -1, .base = -1};
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

HANDLER(take_freezer)
{
    p->plan->freezer = (struct cgroup){.version = 1, .controllers = "freezer", .mountpoint = f[0], .mountroot = f[1],
                                       .line = p->line, .parent = -1, .folder = -1, .base = -1};
    return absolute(p, f[0]) && absolute(p, f[1]);
}

HANDLER(take_scope)
{
    struct plan *plan = p->plan;
    if (plan->scope_count == MAX_SCOPE)
        return refuse(p, "too many lines of this kind", NULL);
    if (plan->scope_count == 0)
        plan->scope_line = p->line;
    plan->scope[plan->scope_count++] = f[0];
    return plan->scope_count > 1 || absolute(p, f[0]);
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
    /* In the place of its digits, which are twice as many bytes: none is written over before it has been read. */
    plan->program = (struct sock_filter *)(((uintptr_t)f[1] + 7) & ~(uintptr_t)7);
    for (unsigned i = 0; i < plan->program_count; i++) {
        uint64_t value = 0;
        for (const char *s = f[1] + i * 16, *end = s + 16; s < end; s++) {
            unsigned digit = text_digit(*s);
            if (digit > 15)
                return refuse(p, "not a number, or out of range:", s);
            value = value << 4 | digit;
        }
        plan->program[i] = (struct sock_filter){(uint16_t)(value >> 48), (uint8_t)(value >> 40), (uint8_t)(value >> 32),
                                                (uint32_t)value};
    }
    return true;
}

HANDLER(take_audit)
{
    bool all = text_equal(f[0], "all");
    p->plan->audit = all ? AUDIT_ALL : AUDIT_REFUSED;
    p->plan->audit_line = p->line;
    return all || text_equal(f[0], "refused") || refuse(p, "expected refused or all, got", f[0]);
}
