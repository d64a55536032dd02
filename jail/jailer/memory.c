/* The end of a jail whose memory has run out, where the kernel leaves it to the supervisor: in version 1. */
#include "supervise.h"

/* Memory has run out. The kernel says so before it has found whom to end, if anybody: look until it has. */
void check_memory(struct watch *w)
{
    int64_t kills = cgroups_oom_kills(w->run);
    if (kills > 0) {
        end_now(w, BY_MEMORY);
    } else if (kills == 0 && --w->oom_looks > 0) {
        w->oom_at = clock_us() + 1000;
        return;
    }
    w->oom_at = NEVER;
}

void hear_memory(struct watch *w)
{
    uint64_t count;
    sys_read(w->run->oom_event, &count, sizeof count);
    w->oom_looks = 100;
    check_memory(w);
}

/* From when the payload runs, and whatever it has done to its memory already. */
int watch_memory(struct watch *w)
{
    bool late = !w->run->tended;
    cgroups_tend(w->run);
    if (late && w->run->oom_event >= 0)
        check_memory(w);
    return w->run->oom_event;
}
