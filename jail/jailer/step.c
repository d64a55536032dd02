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
static const char *lacking = "";

void step_fault_select(char **envp)
{
    static const char step_is[] = "PYJAIL_FAULT_STEP=", lacks[] = "PYJAIL_FAULT_LACKS=";
    for (; *envp; envp++) {
        if (text_starts(*envp, lacks))
            lacking = *envp + sizeof lacks - 1;
        for (int step = 1; step < STEP_COUNT && text_starts(*envp, step_is); step++)
            if (text_equal(*envp + sizeof step_is - 1, step_name((enum step)step)))
                faulty = (enum step)step;
    }
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
