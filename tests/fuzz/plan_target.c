/* libFuzzer over the plan's parser: any bytes at all, parsed in memory of exactly the size that it is promised, so
 * that AddressSanitizer sees the first byte too many. What was accepted is walked through: every string must be
 * readable to its end and every count within its array. */
#include "plan.h"
#include "text.h"
#include <stdlib.h>

static volatile size_t seen;

static void walk_text(const char *text)
{
    if (text)
        seen += text_length(text);
}

static void walk_nodes(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->node_count; i++) {
        walk_text(plan->nodes[i].target);
        walk_text(plan->nodes[i].data);
        walk_text(plan_object(plan, plan->nodes[i].line));
    }
    for (unsigned i = 0; i < plan->variable_count; i++)
        walk_text(plan->variables[i].text);
    for (unsigned i = 0; i < plan->argc; i++)
        walk_text(plan->argv[i]);
}

static void walk_arrays(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->depend_count; i++)
        for (unsigned j = 0; j < COUNT(plan->depends[i].fact); j++)
            walk_text(plan->depends[i].fact[j]);
    for (unsigned i = 0; i < plan->limit_count; i++)
        seen += plan->limits[i].resource;
    for (unsigned i = 0; i < plan->cgroup_count; i++)
        walk_text(plan->cgroups[i].mountroot);
    for (unsigned i = 0; i < plan->setting_count; i++)
        walk_text(plan->settings[i].value);
    for (unsigned i = 0; i < plan->rule_count; i++)
        walk_text(plan->rules[i].path);
    for (unsigned i = 0; i < plan->enforced_count; i++)
        walk_text(plan->enforced[i].value);
    for (unsigned i = 0; i < plan->program_count; i++)
        seen += plan->program[i].k;
    for (unsigned i = 0; i < plan->pass_fd_count; i++)
        if (plan->pass_fds[i] < 3)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct plan plan;
    struct plan_error error = {0};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    bool good = plan_parse(&plan, text, size, &error);
    if (good) {
        if (!plan.has_ids || !plan.has_network || plan.node_count == 0)
            abort();
        walk_nodes(&plan);
        walk_arrays(&plan);
        walk_text(plan.hostname);
        walk_text(plan.cwd);
        walk_text(plan.outcome_file);
    } else if (!error.text[0]) {
        abort(); /* a refusal without a reason */
    }
    plan_release(&plan);
    free(text);
    return 0;
}
