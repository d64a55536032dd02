/* The root: a mount of its own, in which the plan's nodes are made one after the other, by descriptor. */
#include "run.h"
#include "target.h"
#include "tree.h"

static long make_file(int root, const struct node *n)
{
    char name[NAME_ROOM];
    long parent = target_parent(root, n->target, name);
    if (parent < 0)
        return parent;
    long fd = sys_open((int)parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, n->mode);
    if (fd < 0)
        return fd;
    long done = sys_write_all((int)fd, n->data, n->data_length);
    sys_close((int)fd);
    return done;
}

static long make_link(int root, const struct node *n)
{
    char name[NAME_ROOM];
    long parent = target_parent(root, n->target, name);
    return parent < 0 ? parent : SYS(__NR_symlinkat, n->data, parent, name);
}

#define COVER_FLAGS (FLAG_RO | FLAG_NOSUID | FLAG_NODEV | FLAG_NOEXEC)

static int null_device = -1; /* the root's, from the first use on */

/* An empty folder over a folder; over anything else the root's null device on a mount without devices, which
 * cannot even be opened. */
static int make_cover(int root, int hidden)
{
    struct stat st;
    long done = sys_fstat(hidden, &st);
    if (done < 0)
        return (int)done;
    if (S_FORMAT(st.st_mode) == S_DIRECTORY)
        return tree_make("tmpfs", "size=4096,nr_inodes=2,mode=555", COVER_FLAGS);
    if (null_device < 0)
        null_device = tree_open(root, "/dev/null", O_PATH);
    return null_device < 0 ? null_device : tree_clone(null_device, COVER_FLAGS, -1);
}

static long mask(int root, const struct node *n)
{
    int hidden = tree_open(root, n->target, O_PATH | O_NOFOLLOW);
    if (hidden < 0)
        return hidden == -ENOENT ? 0 : hidden;
    int cover = make_cover(root, hidden);
    long done = cover < 0 ? cover : tree_attach(root, cover, hidden, "", COVER_FLAGS);
    if (cover >= 0)
        sys_close(cover);
    sys_close(hidden);
    return done;
}

/* What a tmpfs gets only when everything has been made in it. */
static unsigned seal_of(const struct node *n)
{
    return n->kind == NODE_TMPFS ? n->flags & FLAG_RO : 0;
}

static int make_tree(struct run *run, struct node *n, struct failure *f)
{
    static const char *const types[] = {[NODE_TMPFS] = "tmpfs", [NODE_PROC] = "proc", [NODE_DEVPTS] = "devpts"};
    if (n->kind == NODE_BIND)
        return source_tree(run, n, f);
    return tree_make(types[n->kind], n->data, n->flags & ~seal_of(n));
}

static bool mount_node(struct run *run, int root, struct node *n, struct failure *f)
{
    struct target target;
    int tree = make_tree(run, n, f);
    if (f->step != STEP_NONE)
        return false;
    if (tree == -1 && n->kind == NODE_BIND) /* optional and absent */
        return true;
    TRY(f, STEP_MOUNT, n->line, tree);
    bool folder = n->kind != NODE_BIND || n->folder;
    TRY(f, STEP_MOUNT, n->line, target_make(root, n->target, folder, folder ? 0755 : 0644, &target));
    long done = tree_attach(root, tree, target.at, target.name, n->flags & ~seal_of(n));
    target_done(&target);
    if (n->kind == NODE_TMPFS || n->kind == NODE_DEVPTS) /* to be sealed, looked at in the end, opened in */
        n->tree = tree;
    else
        sys_close(tree);
    TRY(f, STEP_MOUNT, n->line, done);
    return true;
}

static bool make_node(struct run *run, int root, struct node *n, struct failure *f)
{
    struct target made;
    long done = 0;
    switch (n->kind) {
    case NODE_TMPFS:
    case NODE_BIND:
    case NODE_PROC:
    case NODE_DEVPTS:
        return mount_node(run, root, n, f);
    case NODE_MASK:
        done = mask(root, n);
        break;
    case NODE_DIR:
        done = target_make(root, n->target, true, n->mode, &made);
        if (done >= 0)
            target_done(&made);
        break;
    case NODE_FILE:
        done = make_file(root, n);
        break;
    case NODE_SYMLINK:
        done = make_link(root, n);
        break;
    }
    TRY(f, STEP_NODE, n->line, done);
    return true;
}

static long require_folder(int fd)
{
    struct stat st;
    long done = sys_fstat(fd, &st);
    return done < 0 ? done : S_FORMAT(st.st_mode) == S_DIRECTORY ? 0 : -ENOTDIR;
}

static bool seal(struct run *run, int root, struct failure *f)
{
    for (unsigned i = 0; i < run->plan->node_count; i++) {
        struct node *n = &run->plan->nodes[i];
        if (seal_of(n))
            TRY(f, STEP_SEAL, n->line, tree_restrict(root, n->tree, n->flags));
    }
    return true;
}

/* Mount the root over the old one and build in it. */
bool root_build(struct run *run, struct failure *f)
{
    struct plan *plan = run->plan;
    struct node *top = &plan->nodes[0];
    int root = make_tree(run, top, f);
    if (f->step != STEP_NONE)
        return false;
    TRY(f, STEP_ROOT, top->line, root);
    TRY(f, STEP_ROOT, top->line, require_folder(root));
    int old = sys_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    TRY(f, STEP_ROOT, top->line, old);
    TRY(f, STEP_ROOT, top->line, tree_attach(root, root, old, "", top->flags & ~seal_of(top)));
    for (unsigned i = 1; i < plan->node_count; i++)
        if (!make_node(run, root, &plan->nodes[i], f))
            return false;
    targets_forget();
    if (null_device >= 0)
        sys_close(null_device);
    top->tree = root;
    if (!seal(run, root, f))
        return false;
    TRY(f, STEP_PIVOT, 0, SYS(__NR_fchdir, root));
    TRY(f, STEP_PIVOT, 0, SYS(__NR_pivot_root, ".", "."));
    TRY(f, STEP_PIVOT, 0, SYS(__NR_umount2, ".", 2 /* MNT_DETACH */));
    TRY(f, STEP_PIVOT, 0, SYS(__NR_chdir, "/"));
    sys_close(old);
    sys_close(root);
    return true;
}
