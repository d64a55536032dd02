/* The plan's lines that build the root. */
#include "plan_fields.h"
#include "text.h"

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
