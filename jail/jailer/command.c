/* The payload's argv and environment, complete before the clone: nothing is allocated after it. */
#include "run.h"
#include "text.h"
#include <linux/mman.h>

/* There is no bound but the kernel's; few are the rule, and take no memory of their own. */
static char **pointers(size_t count)
{
    static char *few[64];
    if (count <= COUNT(few))
        return few;
    long memory = SYS(__NR_mmap, 0, count * sizeof(char *), 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory < 0 && memory > -4096 ? NULL : (char **)memory;
}

static size_t name_length(const char *variable)
{
    size_t n = 0;
    while (variable[n] && variable[n] != '=')
        n++;
    return n;
}

static bool same_name(const char *a, const char *b)
{
    size_t n = name_length(a);
    return n == name_length(b) && memcmp(a, b, n) == 0;
}

static const char *look_up(char **envp, const char *name)
{
    for (; *envp; envp++)
        if (same_name(*envp, name))
            return *envp;
    return NULL;
}

static bool overridden(const struct plan *plan, unsigned at)
{
    for (unsigned i = at + 1; i < plan->variable_count; i++)
        if (same_name(plan->variables[i].text, plan->variables[at].text))
            return true;
    return false;
}

static bool replaced(const struct command *c, const char *name)
{
    for (size_t i = 0; i < c->variable_count; i++)
        if (same_name(c->variables[i], name))
            return true;
    return false;
}

bool command_prepare(struct run *run, const struct command *c, struct failure *f)
{
    struct plan *plan = run->plan;
    size_t words = plan->argc + c->word_count, used = 0;
    run->argv = pointers(words + 1 + plan->variable_count + c->variable_count + MANAGER_VARIABLES + 1);
    if (!run->argv)
        return failed(f, STEP_COMMAND, 0, ENOMEM);
    run->environment = run->argv + words + 1;
    memcpy(run->argv, plan->argv, plan->argc * sizeof(char *));
    memcpy(run->argv + plan->argc, c->words, c->word_count * sizeof(char *));
    TRY(f, STEP_COMMAND, 0, words == 0 ? -EINVAL : 0);
    run->command = run->argv[0];
    run->membership = c->membership;
    used = manager_environment(run, run->environment);
    for (size_t i = 0; i < c->variable_count; i++)
        run->environment[used++] = c->variables[i];
    run->runtime = look_up(c->environment, "XDG_RUNTIME_DIR");
    run->runtime += run->runtime ? sizeof "XDG_RUNTIME_DIR=" - 1 : 0;
    for (unsigned i = 0; i < plan->variable_count; i++) {
        const struct variable *v = &plan->variables[i];
        const char *text = v->pass ? look_up(c->environment, v->text) : v->text;
        if (text && !overridden(plan, i) && !replaced(c, v->text))
            run->environment[used++] = (char *)text;
    }
    return true;
}
