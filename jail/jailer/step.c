#include "step.h"
#include "text.h"

#define STEP_FITS(id, name, phrase) _Static_assert(sizeof name <= 24 && sizeof phrase <= 64, "room for it, and its NUL");
STEPS(STEP_FITS)
#undef STEP_FITS

/* Texts in place, here and in text.c: a pointer in a table has to be relocated at each start, on a page of our own. */
const char *step_name(enum step step)
{
    static const char names[][24] = {
#define STEP_NAME(id, name, phrase) name,
        STEPS(STEP_NAME)
#undef STEP_NAME
    };
    return names[step < STEP_COUNT ? step : STEP_NONE];
}

const char *step_phrase(enum step step)
{
    static const char phrases[][64] = {
#define STEP_PHRASE(id, name, phrase) phrase,
        STEPS(STEP_PHRASE)
#undef STEP_PHRASE
    };
    return phrases[step < STEP_COUNT ? step : STEP_NONE];
}

#ifdef PYJAIL_FAULT
static enum step faulty = STEP_NONE, faulty_of_commands = STEP_NONE;
static const char *lacking = "";

static enum step step_named(const char *name)
{
    int step = STEP_COUNT - 1;
    while (step > 0 && !text_equal(name, step_name((enum step)step)))
        step--;
    return (enum step)step;
}

void step_fault_select(char **envp)
{
    static const char step_is[] = "PYJAIL_FAULT_STEP=", lacks[] = "PYJAIL_FAULT_LACKS=",
                      command_step_is[] = "PYJAIL_FAULT_COMMAND_STEP=";
    for (; *envp; envp++) {
        if (text_starts(*envp, lacks))
            lacking = *envp + sizeof lacks - 1;
        if (text_starts(*envp, step_is))
            faulty = step_named(*envp + sizeof step_is - 1);
        if (text_starts(*envp, command_step_is))
            faulty_of_commands = step_named(*envp + sizeof command_step_is - 1);
    }
}

enum step step_fault_of_commands(void)
{
    return faulty_of_commands;
}

void step_fault_take(enum step step)
{
    faulty = step;
}

bool step_fault(enum step step)
{
    return step == faulty;
}

bool fault_lacks(const char *call)
{
    return text_equal(call, lacking);
}
#endif
