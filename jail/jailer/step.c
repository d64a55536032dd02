#include "step.h"
#include "text.h"

const char *step_name(enum step step)
{
    static const char *const names[] = {
#define STEP_NAME(id, name, phrase) name,
        STEPS(STEP_NAME)
#undef STEP_NAME
    };
    return names[step < STEP_COUNT ? step : STEP_NONE];
}

const char *step_phrase(enum step step)
{
    static const char *const phrases[] = {
#define STEP_PHRASE(id, name, phrase) phrase,
        STEPS(STEP_PHRASE)
#undef STEP_PHRASE
    };
    return phrases[step < STEP_COUNT ? step : STEP_NONE];
}

#ifdef PYJAIL_FAULT
static enum step faulty = STEP_NONE;

void step_fault_select(char **envp)
{
    static const char name[] = "PYJAIL_FAULT_STEP=";
    for (; *envp; envp++)
        for (int step = 1; step < STEP_COUNT && text_starts(*envp, name); step++)
            if (text_equal(*envp + sizeof name - 1, step_name((enum step)step)))
                faulty = (enum step)step;
}

bool step_fault(enum step step)
{
    return step == faulty;
}
#endif
