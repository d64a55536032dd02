/* The plan as lines and fields: splitting, unescaping, counting; no directive's meaning. */
#include "plan_fields.h"
#include "text.h"
#include <linux/mman.h>

#define MAX_TEXT (64u << 20)
#define PROT_RW 3

static void clear(struct plan *plan)
{
    memset(plan, 0, offsetof(struct plan, depends));
}

bool refuse(struct parse *p, const char *why, const char *what)
{
    struct line l = {p->error->text, sizeof p->error->text, 0, false};
    p->error->line = p->line;
    if (p->word) {
        line_text(&l, p->word);
        line_text(&l, ": ");
    }
    line_text(&l, why);
    if (what) {
        line_text(&l, " '");
        line_escaped(&l, what, text_length(what) > 120 ? 120 : text_length(what));
        line_text(&l, "'");
    }
    return false;
}

bool number(struct parse *p, const char *s, unsigned base, uint64_t max, uint64_t *out)
{
    return text_number(s, base, max, out) || refuse(p, "not a number, or out of range:", s);
}

bool absolute(struct parse *p, const char *path)
{
    return path[0] == '/' || refuse(p, "not an absolute path:", path);
}

bool inside(struct parse *p, const char *target)
{
    if (!absolute(p, target))
        return false;
    unsigned names = 0;
    for (const char *s = target; *s;) {
        while (*s == '/')
            s++;
        const char *name = s;
        while (*s && *s != '/')
            s++;
        size_t n = (size_t)(s - name);
        if ((n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
            return refuse(p, "a target may not hold . or ..:", target);
        names += n > 0;
    }
    return names > 0 || refuse(p, "the target must lie below the root:", target);
}

bool plain_name(struct parse *p, const char *name)
{
    bool plain = *name && !text_equal(name, ".") && !text_equal(name, "..");
    for (const char *s = name; *s; s++)
        plain = plain && *s != '/';
    return plain || refuse(p, "not a plain name:", name);
}

char *take_memory(struct parse *p, size_t size)
{
    char *memory = p->memory;
    p->memory += (size + 15) & ~(size_t)15;
    return memory;
}

static bool octal_digit(char c, char most)
{
    return c >= '0' && c <= most;
}

/* Undo the escapes of one field in place; false if an escape is malformed or stands for NUL in a longer field. */
static bool unescape(char *field)
{
    char *to = field;
    if (field[0] == '\\' && field[1] == '0' && field[2] == '0' && field[3] == '0' && !field[4]) {
        field[0] = 0;
        return true;
    }
    for (const char *from = field; *from;) {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        if (!octal_digit(from[1], '3') || !octal_digit(from[2], '7') || !octal_digit(from[3], '7'))
            return false;
        char c = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
        if (!c)
            return false;
        *to++ = c;
        from += 4;
    }
    *to = 0;
    return true;
}

static bool split(struct parse *p, char *text, char **fields)
{
    bool escaped = false;
    p->count = 0;
    for (char *next = text; next;) {
        char *field = next;
        while (*next && *next != ' ') {
            if ((unsigned char)*next < 0x20 || *next == 0x7f)
                return refuse(p, "a control byte must be written as \\ooo", NULL);
            escaped |= *next == '\\';
            next++;
        }
        bool last = !*next;
        *next = 0;
        next = last ? NULL : next + 1;
        if (!*field)
            return refuse(p, "an empty field must be written as \\000, and one space parts fields", NULL);
        if (p->count == MAX_FIELDS + 1)
            return refuse(p, "too many fields", NULL);
        fields[p->count++] = field;
    }
    for (unsigned i = 0; escaped && i < p->count; i++)
        if (!unescape(fields[i]))
            return refuse(p, "a malformed escape in", fields[i]);
    return true;
}

static bool take_line(struct parse *p, char *text, const struct directive *directives, size_t count, uint64_t *seen)
{
    char *fields[MAX_FIELDS + 1];
    p->word = NULL;
    if (!*text || *text == '#')
        return true;
    if (!split(p, text, fields))
        return false;
    size_t i = 0;
    while (i < count && !text_equal(directives[i].word, fields[0]))
        i++;
    if (i == count)
        return refuse(p, "unknown directive", fields[0]);
    p->word = directives[i].word;
    p->count--;
    if (p->count < directives[i].least || p->count > directives[i].most)
        return refuse(p, "wrong number of fields", NULL);
    if (directives[i].once && (*seen >> i & 1))
        return refuse(p, "stands twice", NULL);
    *seen |= 1ULL << i;
    return directives[i].take(p, fields + 1);
}

static bool get_memory(struct plan *plan, struct parse *p, size_t lines, size_t size)
{
    size_t need = lines * (sizeof *plan->nodes + sizeof *plan->variables + sizeof *plan->argv) + size + 4096;
    long memory = SYS(__NR_mmap, 0, need, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -4096)
        return refuse(p, "not enough memory", NULL);
    plan->memory = (void *)memory;
    plan->memory_size = need;
    p->memory = plan->memory;
    plan->nodes = (struct node *)(void *)take_memory(p, lines * sizeof *plan->nodes);
    plan->variables = (struct variable *)(void *)take_memory(p, lines * sizeof *plan->variables);
    plan->argv = (const char **)(void *)take_memory(p, lines * sizeof *plan->argv);
    return true;
}

static bool lists(const char *list, const char *word)
{
    for (size_t n, length = text_length(word); *list; list += n + (list[n] == ',')) {
        for (n = 0; list[n] && list[n] != ','; n++)
            ;
        if (n == length && memcmp(list, word, n) == 0)
            return true;
    }
    return false;
}

const struct cgroup *plan_cgroup(const struct plan *plan, const char *controller)
{
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        if (lists(plan->cgroups[i].controllers, controller))
            return &plan->cgroups[i];
    return NULL;
}

const struct node *plan_devpts(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->node_count; i++)
        if (plan->nodes[i].kind == NODE_DEVPTS)
            return &plan->nodes[i];
    return NULL;
}

bool plan_complete(struct plan *plan, struct plan_error *error)
{
    struct parse parse = {.plan = plan, .error = error}, *p = &parse;
    if (!plan->has_ids)
        return refuse(p, "no ids line", NULL);
    if (!plan->has_network)
        return refuse(p, "no network line", NULL);
    if (plan->node_count == 0)
        return refuse(p, "no mount line for the root", NULL);
    p->line = plan->audit_line;
    if (plan->audit && plan->program_count == 0)
        return refuse(p, "audit: no seccomp line whose calls could be told", NULL);
    p->line = plan->pty_line;
    if (plan->pty_line && !plan_devpts(plan))
        return refuse(p, "pty: no mount line of a devpts to make it in", NULL);
    for (unsigned i = 0; i < plan->setting_count; i++) {
        struct setting *s = &plan->settings[i];
        p->line = s->line;
        s->cgroup = plan_cgroup(plan, s->controller);
        if (!s->cgroup)
            return refuse(p, "no cgroup line for the controller", s->controller);
    }
    return true;
}

bool parse_lines(struct plan *plan, char *text, size_t size, struct plan_error *error,
                 const struct directive *directives, size_t count)
{
    struct parse p = {.plan = plan, .error = error, .line = 1};
    size_t lines = 1;
    uint64_t seen = 0;
    clear(plan);
    plan->umask = 022;
    plan->outcome_fd = plan->life_fd = plan->control_fd = plan->small_fd = UNSET;
    plan->timeout_ms = plan->idle_ms = plan->cpu_ms = UNSET;
    for (unsigned i = 0; i < OUTPUTS; i++)
        plan->max_output[i] = UNSET;
    plan->grace_ms = 5000;
    for (size_t i = 0; i < size; i++) {
        if (!text[i])
            return refuse(&p, "a NUL byte: this is not a plan", NULL);
        lines += text[i] == '\n';
        p.line = (unsigned)lines;
    }
    if (size == 0 || text[size - 1] != '\n')
        return refuse(&p, "the last line does not end in a newline: the plan is cut off or empty", NULL);
    text[size] = 0;
    if (!get_memory(plan, &p, lines, size))
        return false;
    bool headed = false, ended = false;
    p.line = 0;
    for (char *at = text, *end; at < text + size; at = end + 1) {
        p.line++;
        for (end = at; *end != '\n'; end++)
            ;
        *end = 0;
        if (ended) {
            return refuse(&p, "nothing may follow the line 'end'", NULL);
        } else if (headed && text_equal(at, "end")) {
            ended = true;
        } else if (headed) {
            if (!take_line(&p, at, directives, count, &seen))
                return false;
        } else if (text_equal(at, "jailer 1")) {
            headed = true;
        } else if (p.line != 1 || !text_starts(at, "#!")) {
            return refuse(&p, "not a plan of this version: expected 'jailer 1', got", at);
        }
    }
    if (!headed)
        return refuse(&p, "no line 'jailer 1': this is not a plan", NULL);
    /* Cut off at a line's end it would still parse, and run without what was lost, a filter perhaps. */
    return ended || refuse(&p, "no line 'end': the plan is cut off", NULL);
}

bool plan_take(struct plan *plan, int fd, struct plan_error *error,
               bool (*parse)(struct plan *, char *, size_t, struct plan_error *))
{
    struct parse p = {.plan = plan, .error = error};
    size_t room = 1 << 16, size = 0;
    clear(plan);
    long text = SYS(__NR_mmap, 0, room, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text < 0 && text > -4096)
        return refuse(&p, "not enough memory", NULL);
    for (long n = 1; n != 0; size += (size_t)n) {
        if (size + 1 >= room) {
            long more = room < MAX_TEXT ? SYS(__NR_mremap, text, room, room * 2, MREMAP_MAYMOVE, 0) : -EFBIG;
            if (more < 0 && more > -4096) {
                SYS(__NR_munmap, text, room);
                return refuse(&p, room < MAX_TEXT ? "not enough memory" : "the plan is larger than 64 MiB", NULL);
            }
            text = more;
            room *= 2;
        }
        n = sys_read(fd, (char *)text + size, room - 1 - size);
        if (n < 0) {
            SYS(__NR_munmap, text, room);
            return refuse(&p, errno_text((int)-n), NULL);
        }
    }
    bool good = parse(plan, (char *)text, size, error);
    plan->text = (char *)text;
    plan->text_size = room;
    return good;
}

void plan_release(struct plan *plan)
{
    if (plan->memory)
        SYS(__NR_munmap, plan->memory, plan->memory_size);
    if (plan->text)
        SYS(__NR_munmap, plan->text, plan->text_size);
    clear(plan);
}

const char *plan_object(const struct plan *plan, unsigned line)
{
    for (unsigned i = 0; i < plan->node_count; i++)
        if (plan->nodes[i].line == line)
            return plan->nodes[i].kind == NODE_BIND ? plan->nodes[i].data : plan->nodes[i].target;
    for (unsigned i = 0; i < plan->limit_count; i++)
        if (plan->limits[i].line == line)
            return plan->limits[i].name;
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        if (plan->cgroups[i].line == line)
            return plan->cgroups[i].controllers;
    if (line == plan->scope_line && plan->scope_count)
        return plan->scope[0];
    for (unsigned i = 0; i < plan->setting_count; i++)
        if (plan->settings[i].line == line)
            return plan->settings[i].file;
    for (unsigned i = 0; i < plan->rule_count; i++)
        if (plan->rules[i].line == line)
            return plan->rules[i].path;
    if (plan->name && plan->name_line == line)
        return plan->name;
    if (plan->cpu_line == line)
        return "cpu-time";
    if (plan->audit && plan->audit_line == line)
        return plan->seccomp_name;
    return "";
}
