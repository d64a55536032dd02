/* What is told of a run to people: one line on stderr, from the same verdict as the outcome. */
#include "run.h"
#include "text.h"

static void hundredths(struct line *l, int64_t microseconds)
{
    int64_t n = (microseconds + 5000) / 10000;
    line_number(l, (uint64_t)(n / 100), 10);
    line_char(l, '.');
    line_char(l, (char)('0' + n % 100 / 10));
    line_char(l, (char)('0' + n % 10));
    line_text(l, " s");
}

static void size(struct line *l, int64_t bytes)
{
    bool large = bytes >= 10 << 20;
    line_number(l, (uint64_t)(large ? (bytes + (1 << 19)) >> 20 : (bytes + (1 << 9)) >> 10), 10);
    line_text(l, large ? " MiB" : " KiB");
}

static void processes(struct line *l, int64_t count)
{
    line_number(l, (uint64_t)count, 10);
    line_text(l, count == 1 ? " process" : " processes at most");
}

static void ending(struct line *l, const struct run *run, const struct verdict *v)
{
    enum ending end = outcome_ending(run, v);
    if (end == EXITED_NORMALLY) {
        line_text(l, "exited ");
        line_number(l, (unsigned)EXIT_CODE(v->wait_status), 10);
    } else if (end == SIGNALED) {
        line_text(l, "killed by signal ");
        line_number(l, (unsigned)SIGNAL_OF(v->wait_status), 10);
    } else {
        line_text(l, outcome_name(end));
    }
}

void stats_write(const struct run *run, const struct verdict *v)
{
    const char *hit[MOST_HIT];
    unsigned count = outcome_limits_hit(run, v, hit);
    LINE(l, 512);
    if (!run->plan->stats || outcome_ending(run, v) == SETUP_FAILED)
        return;
    line_text(&l, "pyjail: ");
    ending(&l, run, v);
    line_text(&l, " in ");
    hundredths(&l, v->wall_us);
    line_text(&l, "; cpu ");
    hundredths(&l, outcome_cpu_us(v->user_us, run->base_user_us));
    line_text(&l, " user, ");
    hundredths(&l, outcome_cpu_us(v->system_us, run->base_system_us));
    line_text(&l, " system");
    if (v->peak_memory >= 0) {
        line_text(&l, "; peak memory ");
        size(&l, v->peak_memory);
    }
    if (v->pids_peak >= 0) {
        line_text(&l, "; ");
        processes(&l, v->pids_peak);
    }
    for (unsigned i = 0; i < count; i++) {
        line_text(&l, i ? ", " : "; limits hit: ");
        line_text(&l, hit[i]);
    }
    line_char(&l, '\n');
    (void)sys_write_all(2, l.data, l.used);
}
