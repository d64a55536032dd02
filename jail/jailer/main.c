/* The executor's command line; docs/plan.md has it in full. */
#include "bpf.h"
#include "front.h"
#include "probe.h"
#include "report.h"
#include "request.h"
#include "run.h"
#include "text.h"

int program(int argc, char **argv, char **envp);

static int complain(const char *what, const char *why)
{
    LINE(l, 1024);
    line_text(&l, "pyjail: ");
    line_text(&l, what);
    line_text(&l, ": ");
    line_text(&l, why);
    line_char(&l, '\n');
    (void)sys_write_all(2, l.data, l.used);
    return 125;
}

#ifdef PYJAIL_FRONT
/* A folder as stdin would stop Python too, but with a message that helps nobody. */
static int dispatch(int argc, char **argv, char **envp)
{
    struct failure f = {0};
    static const struct plan none;
    if (descriptors_stdio(&f))
        return front(argc, argv, envp);
    report(&none, &f, "");
    return 125;
}
#else
int complain_of_plan(const char *name, const struct plan_error *error)
{
    LINE(where, 300);
    line_bytes(&where, name, text_length(name) > 256 ? 256 : text_length(name));
    line_text(&where, ":");
    line_number(&where, error->line, 10);
    return complain(where.data, error->text);
}

static bool read_plan(struct plan *plan, int fd, const char *name)
{
    struct plan_error error = {0};
    if (plan_read(plan, fd, &error))
        return true;
    complain_of_plan(name, &error);
    return false;
}

static int usage(void)
{
    return complain("usage", "jailer run PLAN [WORD…] | run-fd N [WORD…] | serve N M | check PLAN | probe | version");
}

static int with_plan(int argc, char **argv, char **envp)
{
    struct plan plan;
    uint64_t number = 0;
    bool by_fd = text_equal(argv[1], "run-fd");
    if (by_fd && !text_number(argv[2], 10, 65535, &number))
        return complain(argv[2], "not a descriptor");
    int fd = by_fd ? (int)number : sys_open(AT_FDCWD, argv[2], O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0)
        return complain(argv[2], errno_text(-fd));
    bool good = read_plan(&plan, fd, argv[2]);
    sys_close(fd);
    if (!good)
        return 125;
    struct command c = {.words = argv + 3, .word_count = (size_t)argc - 3, .environment = envp};
    return text_equal(argv[1], "check") ? 0 : execute(&plan, &c);
}

static int with_socket(char **argv)
{
    uint64_t socket, caller;
    if (!text_number(argv[2], 10, 65535, &socket) || !text_number(argv[3], 10, 65535, &caller) || socket == caller)
        return complain("serve", "expected the descriptors of a socket and of the caller");
    return serve((int)socket, (int)caller);
}

#ifdef PYJAIL_FAULT
static int list_steps(void)
{
    LINE(l, 2048);
    for (int step = 1; step < STEP_COUNT; step++) {
        line_text(&l, step_name((enum step)step));
        line_char(&l, '\n');
    }
    return sys_write_all(1, l.data, l.used) < 0;
}

/* The evaluator of the audit by itself: for each struct seccomp_data on stdin, what the plan's program says of it. */
static int evaluate(const char *name)
{
    struct plan plan;
    struct seccomp_data call;
    int fd = sys_open(AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 || !read_plan(&plan, fd, name) || !bpf_known(plan.program, plan.program_count))
        return 1;
    while (sys_read(0, &call, sizeof call) == sizeof call) {
        uint32_t action = bpf_run(plan.program, &call);
        if (sys_write_all(1, (const char *)&action, sizeof action) < 0)
            return 1;
    }
    return 0;
}
#endif

static int dispatch(int argc, char **argv, char **envp)
{
    const char *verb = argc > 1 ? argv[1] : "";
#ifdef PYJAIL_FAULT
    if (text_equal(verb, "steps"))
        return list_steps();
    if (text_equal(verb, "evaluate") && argc == 3)
        return evaluate(argv[2]);
#endif
    if (text_equal(verb, "probe") && argc == 2)
        return probe();
    if (text_equal(verb, "serve") && argc == 4)
        return with_socket(argv);
    if (text_equal(verb, "version") && argc == 2)
        return sys_write_all(1, PYJAIL_VERSION "\n", sizeof PYJAIL_VERSION) < 0;
    if (argc >= 3 && (text_equal(verb, "run") || text_equal(verb, "run-fd") || (text_equal(verb, "check") && argc == 3)))
        return with_plan(argc, argv, envp);
    return usage();
}
#endif

int program(int argc, char **argv, char **envp)
{
    uint64_t payload_pid;
    if (argc == 2 && text_equal(argv[0], INIT_NAME) && SYS_0(__NR_getpid) == 1 &&
        text_number(argv[1], 10, INT32_MAX, &payload_pid))
        init_main((int)payload_pid);
    int sound = descriptors_sound();
    if (sound < 0)
        return complain("/dev/null", errno_text(-sound));
    step_fault_select(envp);
    return dispatch(argc, argv, envp);
}
