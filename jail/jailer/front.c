/* The way from the command line to a run: with a cached plan no Python is started, which would cost more than the
 * whole run. No option is understood here. */
#ifdef PYJAIL_FRONT
#include "front.h"
#include "run.h"
#include <linux/mman.h>

#define PATH_SIZE 4096
#define PROT_RW 3
#define SIBLING "pyjail-python"
#define ARGUMENT_SIZE (128 * 1024 - 1) /* of one word of an execve(2) */

static int fail(const char *what, const char *object, const char *why)
{
    LINE(l, 2 * PATH_SIZE);
    line_text(&l, "pyjail: ");
    line_text(&l, what);
    line_text(&l, object);
    line_text(&l, ": ");
    line_text(&l, why);
    line_text(&l, "\n");
    (void)sys_write_all(2, l.data, l.used); /* there is nobody else to tell */
    return 125;
}

/* The script that the package installer made beside us: it knows the interpreter. */
static bool sibling(struct line *path)
{
    char self[PATH_SIZE];
    long n = SYS(__NR_readlinkat, AT_FDCWD, "/proc/self/exe", self, sizeof self - 1);
    if (n <= 0 || n >= (long)sizeof self - 1)
        return false;
    self[n] = 0;
    const char *slash = text_last(self, '/');
    if (!slash)
        return false;
    line_bytes(path, self, (size_t)(slash + 1 - self));
    line_text(path, SIBLING);
    return !path->full;
}

/* What stands after the #! of the script's first line; "" if that is too long or has blanks, as in the form for
 * long paths (`#!/bin/sh`, then shell): the kernel shall start such a script. A negative errno if unreadable. */
static int interpreter(const char *script, char *out, size_t size)
{
    int fd = sys_open(AT_FDCWD, script, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long n = sys_read(fd, out, size - 1), end = 2;
    sys_close(fd);
    if (n < 0)
        return (int)n;
    if (n < 3 || out[0] != '#' || out[1] != '!')
        return -ENOEXEC;
    while (end < n && (unsigned char)out[end] > ' ')
        end++;
    bool usable = end < n && out[end] == '\n' && out[2] == '/';
    memmove(out, out + 2, (size_t)end - 2);
    out[usable ? end - 2 : 0] = 0;
    if (text_equal(out, "/bin/sh"))
        out[0] = 0;
    return 0;
}

/* The command line has no bound but the kernel's, so its copy does not lie on the stack. */
static char **new_words(int count)
{
    long memory = SYS(__NR_mmap, 0, (size_t)count * sizeof(char *), PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory < 0 && memory > -4096 ? NULL : (char **)memory;
}

/* Python takes these two even with -I, and looks for its modules where they point. */
static void forget_python_homes(char **envp)
{
    char **kept = envp;
    for (; *envp; envp++)
        if (!text_starts(*envp, "PYTHONEXECUTABLE=") && !text_starts(*envp, "__PYVENV_LAUNCHER__="))
            *kept++ = *envp;
    *kept = NULL;
}

static int run_python(int argc, char **argv, char **envp, char *name, char *text)
{
    forget_python_homes(envp);
    static char path_memory[PATH_SIZE], program[PATH_SIZE];
    struct line path = {path_memory, sizeof path_memory, 0, false};
    if (!sibling(&path))
        return fail("cannot find my own folder through ", "/proc/self/exe", "is /proc mounted?");
    int error = interpreter(path.data, program, sizeof program);
    if (error < 0)
        return fail("cannot read the script ", path.data, error == -ENOENT
                    ? "it was installed beside this program and is gone; reinstall pyjail-linux" : errno_text(-error));
    char *head[] = {program, "-I", "-c", "from jail.cli import front; front()", name, text};
    int heads = COUNT(head), rest = argc > 0 ? argc - 1 : 0;
    if (!program[0]) { /* such a script cannot be given a key: nothing is cached then */
        head[0] = path.data;
        heads = 1;
    }
    char **words = new_words(heads + rest + 1);
    if (!words)
        return fail("cannot start ", head[0], "not enough memory");
    memcpy(words, head, (size_t)heads * sizeof *words);
    if (rest)
        memcpy(words + heads, argv + 1, (size_t)rest * sizeof *words);
    words[heads + rest] = NULL;
    error = (int)SYS(__NR_execve, head[0], words, envp);
    return fail("cannot start the interpreter ", head[0], error == -ENOENT
                ? "it is gone; reinstall pyjail-linux with the Python that you use now" : errno_text(-error));
}

/* As a field of a plan, which is how Python is to store it; "-" if there is no key or it fits into no word. */
static char *field(const struct front_key *key)
{
    static char memory[ARGUMENT_SIZE];
    struct line l = {memory, sizeof memory, 0, false};
    if (key->text.used)
        line_escaped(&l, key->text.data, key->text.used);
    return l.used && !l.full ? l.data : "-";
}

static int run(int argc, char **argv, char **envp, int dashes)
{
    static char key_memory[1 << 16];
    static struct plan plan;
    struct front_key key = {.text = {key_memory, sizeof key_memory, 0, false}};
    front_key(&key, dashes - 1, argv + 1);
    struct command c = {.words = argv + dashes + 1, .environment = envp, .membership = key.membership};
    c.word_count = dashes + 1 < argc ? (size_t)(argc - dashes - 1) : 0;
    if (c.word_count && front_lookup(&key, envp, &plan))
        return execute(&plan, &c);
    char *text = field(&key);
    return run_python(argc, argv, envp, text_equal(text, "-") ? "-" : key.name, text);
}

int front(int argc, char **argv, char **envp)
{
    static const char version[] = "pyjail " PYJAIL_VERSION "\n";
    if (argc == 2 && text_equal(argv[1], "--version"))
        return sys_write_all(1, version, sizeof version - 1) < 0;
    if (argc > 1 && text_equal(argv[1], "run"))
        for (int i = 2; i < argc; i++)
            if (text_equal(argv[i], "--"))
                return run(argc, argv, envp, i);
    return run_python(argc, argv, envp, "-", "-");
}
#endif
