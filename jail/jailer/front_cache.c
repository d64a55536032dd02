/* The reading side of the plan cache. Python writes it; here everything is doubted: the folders and the file must
 * be ours alone, the key in the file must be this very key, and what the plan was made from must be unchanged. */
#ifdef PYJAIL_FRONT
#include "cgroup.h"
#include "front.h"
#include <linux/capability.h>
#include <linux/utsname.h>

#define MAX_GROUPS 1024 /* a user in more groups gets no cache */

static void add(struct front_key *key, const char *bytes, size_t n)
{
    if (key->text.used)
        line_char(&key->text, ' ');
    line_escaped(&key->text, bytes, n);
}

static void add_text(struct front_key *key, const char *text)
{
    add(key, text, text_length(text));
}

static void add_number(struct front_key *key, uint64_t value)
{
    LINE(l, 24);
    line_number(&l, value, 10);
    add(key, l.data, l.used);
}

/* The whole of a small file; false if it cannot be had or does not fit. */
static bool add_file(struct front_key *key, const char *path)
{
    char bytes[4096];
    size_t used = 0;
    int fd = sys_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    long n;
    while ((n = sys_read(fd, bytes + used, sizeof bytes - used)) > 0)
        used += (size_t)n;
    sys_close(fd);
    if (n == 0 && used < sizeof bytes)
        add(key, bytes, used);
    return n == 0 && used < sizeof bytes;
}

static bool add_kernel(struct front_key *key)
{
    struct new_utsname name;
    if (SYS(__NR_uname, &name) < 0)
        return false;
    add_text(key, name.release);
    add_text(key, name.version);
    return add_file(key, "/proc/sys/kernel/random/boot_id");
}

/* Capabilities and the user namespace too: id 0 may do less in a container that shares a home with its host. */
static bool add_user(struct front_key *key)
{
    unsigned groups[MAX_GROUPS];
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];
    long uid = SYS_0(__NR_getuid), euid = SYS_0(__NR_geteuid), gid = SYS_0(__NR_getgid), egid = SYS_0(__NR_getegid);
    if (uid != euid || gid != egid)
        return false; /* somebody else's environment names the folder */
    add_number(key, (uint64_t)euid);
    add_number(key, (uint64_t)egid);
    add_number(key, (uint64_t)uid);
    add_number(key, (uint64_t)gid);
    long count = SYS(__NR_getgroups, MAX_GROUPS, groups);
    if (count < 0 || SYS(__NR_capget, &header, sets) < 0)
        return false;
    add_number(key, (uint64_t)count);
    for (long i = 0; i < count; i++)
        add_number(key, groups[i]);
    add_number(key, (uint64_t)sets[1].effective << 32 | sets[0].effective);
    return add_file(key, "/proc/self/uid_map") && add_file(key, "/proc/self/gid_map");
}

/* The root folder too: the same path means another file after a chroot. */
static bool add_place(struct front_key *key)
{
    static char membership[CGROUP_TEXT];
    char path[4096];
    struct stat root;
    long n = SYS(__NR_getcwd, path, sizeof path);
    if (n <= 0 || path[0] != '/' || sys_lstatat(AT_FDCWD, "/", &root) < 0)
        return false;
    add_text(key, path);
    add_number(key, root.st_dev);
    add_number(key, root.st_ino);
    n = cgroup_membership(membership);
    if (n < 0 || n == CGROUP_TEXT - 1)
        return false;
    add(key, membership, (size_t)n);
    key->membership = membership;
    return true;
}

/* FNV-1a, 64 bit. Only a name is made of it: who makes two keys collide gets a miss, since the file holds the key. */
static void name_of(struct front_key *key)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < key->text.used; i++)
        hash = (hash ^ (unsigned char)key->text.data[i]) * 0x100000001b3;
    for (int i = 0; i < 16; i++)
        key->name[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    key->name[16] = 0;
}

void front_key(struct front_key *key, int count, char **words)
{
    add_text(key, PYJAIL_VERSION);
    add_text(key, PYJAIL_BUILD);
    bool good = add_kernel(key) && add_user(key) && add_place(key);
    for (int i = 0; i < count && good && !key->text.full; i++)
        add_text(key, words[i]);
    if (!good || key->text.full)
        key->text.used = 0;
    name_of(key);
}

/* The variable's value if it is an absolute path, or NULL. */
static const char *absolute_path(char **envp, const char *name)
{
    for (; *envp; envp++)
        if (text_starts(*envp, name))
            return (*envp)[text_length(name)] == '/' ? *envp + text_length(name) : NULL;
    return NULL;
}

/* A folder that nobody else can read or write, or -1. O_PATH: nothing is read from it but what it leads to. */
static int open_folder(int parent, const char *path)
{
    struct stat st;
    int fd = sys_open(parent, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (sys_fstat(fd, &st) == 0 && st.st_uid == (unsigned)SYS_0(__NR_geteuid) && !(st.st_mode & 077))
        return fd;
    sys_close(fd);
    return -1;
}

static int open_plans(char **envp)
{
    LINE(path, 4096);
    const char *base = absolute_path(envp, "XDG_CACHE_HOME="), *home = absolute_path(envp, "HOME=");
    if (!base && !home)
        return -1;
    line_text(&path, base ? base : home);
    line_text(&path, base ? "/pyjail" : "/.cache/pyjail");
    int outer = path.full ? -1 : open_folder(AT_FDCWD, path.data);
    if (outer < 0)
        return -1;
    int plans = open_folder(outer, "plans");
    sys_close(outer);
    return plans;
}

/* A regular file of our own, with no second name under which somebody else could have put it there. */
static int open_file(int plans, const char *name)
{
    struct stat st;
    int fd = sys_open(plans, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (sys_fstat(fd, &st) == 0 && S_FORMAT(st.st_mode) == S_REGULAR && st.st_uid == (unsigned)SYS_0(__NR_geteuid) &&
        st.st_nlink == 1 && !(st.st_mode & 022))
        return fd;
    sys_close(fd);
    return -1;
}

/* A stored plan has no command of its own: the words after `--` are the whole of it. */
static bool usable(const struct plan *plan, const struct front_key *key)
{
    return plan->key && text_equal(plan->key, key->text.data) && !plan->argc && depends_hold(plan);
}

bool front_lookup(const struct front_key *key, char **envp, struct plan *plan)
{
    struct plan_error error;
    int plans = key->text.used ? open_plans(envp) : -1;
    if (plans < 0)
        return false;
    int fd = open_file(plans, key->name);
    sys_close(plans);
    if (fd < 0)
        return false;
    bool good = plan_read(plan, fd, &error) && usable(plan, key);
    sys_close(fd);
    if (!good)
        plan_release(plan);
    return good;
}
#endif
