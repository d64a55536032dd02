/* What is told of a run: the exit status and the outcome line, from the verdict alone. */
#include "audit.h"
#include "report.h"
#include "peers.h"
#include "run.h"
#include <asm/resource.h>
#include <asm/signal.h>

static bool jail_used_up_cpu(const struct run *run, const struct verdict *v)
{
    int64_t most = run->plan->cpu_ms;
    return most != UNSET && v->cpu_counted && v->user_us + v->system_us - run->cpu_base_us >= most * 1000;
}

static bool payload_used_up_cpu(const struct run *run, const struct verdict *v)
{
    int signal = SIGNAL_OF(v->wait_status);
    for (unsigned i = 0; i < run->plan->limit_count; i++) {
        const struct limit *l = &run->plan->limits[i];
        if (l->resource == RLIMIT_CPU && l->soft < INT64_MAX / 1000000) {
            /* The limit counts whole clock ticks, the usage exact time: on a busy machine the one runs ahead. */
            int64_t tenths = (v->user_us + v->system_us) / 100000;
            return (signal == SIGXCPU && tenths >= (int64_t)l->soft * 5) ||
                   (signal == SIGKILL && tenths >= (int64_t)l->soft * 9);
        }
    }
    return false;
}

static const enum ending endings[] = {[BY_TIMEOUT] = TIMED_OUT,
                                      [BY_IDLE_TIMEOUT] = IDLE_TIMED_OUT,
                                      [BY_CPU_TIME] = CPU_EXCEEDED,
                                      [BY_MEMORY] = OUT_OF_MEMORY,
                                      [BY_OUTPUT] = OUTPUT_EXCEEDED,
                                      [BY_STDOUT] = OUTPUT_EXCEEDED,
                                      [BY_STDERR] = OUTPUT_EXCEEDED};

enum ending outcome_ending(const struct run *run, const struct verdict *v)
{
    if (v->failure.step != STEP_NONE && v->failure.step != STEP_EXEC)
        return SETUP_FAILED;
    if (v->cause != BY_ITSELF)
        return endings[v->cause];
    if (jail_used_up_cpu(run, v))
        return CPU_EXCEEDED;
    if (v->oom_kills > 0) /* whichever process it was, and whatever the payload made of it in its last moment */
        return OUT_OF_MEMORY;
    if (!v->known || v->killed)
        return KILLED;
    if (EXITED(v->wait_status))
        return EXITED_NORMALLY;
    return payload_used_up_cpu(run, v) ? CPU_EXCEEDED : SIGNALED;
}

const char *outcome_name(enum ending ending)
{
    static const char *const names[] = {[EXITED_NORMALLY] = "exited",
                                        [SIGNALED] = "signaled",
                                        [TIMED_OUT] = "timed-out",
                                        [IDLE_TIMED_OUT] = "idle-timed-out",
                                        [CPU_EXCEEDED] = "cpu-exceeded",
                                        [OUT_OF_MEMORY] = "out-of-memory",
                                        [OUTPUT_EXCEEDED] = "output-exceeded",
                                        [KILLED] = "killed",
                                        [SETUP_FAILED] = "setup-failed"};
    return names[ending];
}

/* By the names of `Limits`: also those that the payload has survived, such as a refused fork. A folder in memory that
 * was full counts if it still is. */
unsigned outcome_limits_hit(const struct run *run, const struct verdict *v, const char **names)
{
    static const char *const by[] = {
        [BY_TIMEOUT] = "timeout",   [BY_IDLE_TIMEOUT] = "idle_timeout", [BY_OUTPUT] = "max_output",
        [BY_STDOUT] = "max_stdout", [BY_STDERR] = "max_stderr"};
    unsigned count = 0;
    if (v->oom_kills > 0)
        names[count++] = "memory";
    if (v->pids_hit > 0)
        names[count++] = "pids";
    if (outcome_ending(run, v) == CPU_EXCEEDED)
        names[count++] = "cpu_time";
    if (by[v->cause])
        names[count++] = by[v->cause];
    if (v->no_room)
        names[count++] = "tmp_size";
    if (v->no_files)
        names[count++] = "tmp_inodes";
    return count;
}

int outcome_status(const struct run *run, const struct verdict *v)
{
    switch (outcome_ending(run, v)) {
    case SETUP_FAILED:
        return 125;
    case TIMED_OUT:
    case IDLE_TIMED_OUT:
    case CPU_EXCEEDED:
        return 124;
    case OUTPUT_EXCEEDED: /* as a file that grows beyond its limit */
        return 128 + SIGXFSZ;
    case OUT_OF_MEMORY:
    case KILLED:
        return 128 + SIGKILL;
    case SIGNALED:
        return 128 + SIGNAL_OF(v->wait_status);
    case EXITED_NORMALLY:
        break;
    }
    return EXIT_CODE(v->wait_status);
}

static void field(struct line *l, const char *name)
{
    line_char(l, l->data[l->used - 1] == '{' ? ' ' : ',');
    if (l->data[l->used - 1] == ' ')
        l->used--;
    line_json(l, name);
    line_char(l, ':');
}

static void number_or_null(struct line *l, const char *name, int64_t value, bool known)
{
    field(l, name);
    if (known)
        line_signed(l, value);
    else
        line_text(l, "null");
}

static void seconds(struct line *l, const char *name, int64_t microseconds)
{
    field(l, name);
    line_seconds(l, (uint64_t)microseconds);
}

int64_t outcome_cpu_us(int64_t used, int64_t base)
{
    return used > base ? used - base : 0;
}

static void error(struct line *l, const struct run *run, const struct failure *f, const char *command)
{
    LINE(sentence, 1024);
    const char *object = report_object(run->plan, f, command), *hint = report_hint(f);
    field(l, "error");
    if (f->step == STEP_NONE) {
        line_text(l, "null");
        return;
    }
    report_sentence(&sentence, run->plan, f, object);
    line_char(l, '{');
    field(l, "step");
    line_json(l, step_name(f->step));
    field(l, "object");
    line_json(l, text_length(object) > 1000 ? "" : object);
    number_or_null(l, "errno", f->error, true);
    field(l, "errno_name");
    line_json(l, f->error ? errno_name(f->error) : "");
    number_or_null(l, "line", f->line, true);
    field(l, "message");
    line_json(l, sentence.data);
    field(l, "hint");
    line_json(l, hint ? hint : "");
    line_char(l, '}');
}

static void limits_hit(struct line *l, const struct run *run, const struct verdict *v)
{
    const char *names[MOST_HIT];
    unsigned count = outcome_limits_hit(run, v, names);
    field(l, "limits_hit");
    line_char(l, '[');
    for (unsigned i = 0; i < count; i++) {
        if (i)
            line_char(l, ',');
        line_json(l, names[i]);
    }
    line_char(l, ']');
}

static void enforced(struct line *l, const struct plan *plan)
{
    field(l, "enforced");
    line_char(l, '{');
    for (unsigned i = 0; i < plan->enforced_count; i++) {
        field(l, plan->enforced[i].name);
        line_json(l, plan->enforced[i].value);
    }
    line_char(l, '}');
}

/* What the audit heard; null where there was none. */
static long audited(struct line *l, const struct run *run)
{
    bool any = run->plan->audit != AUDIT_NOTHING;
    field(l, "denied");
    if (!any)
        line_text(l, "null");
    long done = any ? tally_denied(l, run->outcome) : 0;
    field(l, "calls");
    if (!any)
        line_text(l, "null");
    else if (done >= 0)
        done = tally_calls(l, run->outcome);
    number_or_null(l, "calls_lost", (int64_t)tally_lost(), any);
    return done;
}

/* As init tells it, which reaped it. */
void outcome_of_command(struct line *l, const struct run *run, const struct ended *e)
{
    bool ran = e->failure.step == STEP_NONE || e->failure.step == STEP_EXEC, exited = EXITED(e->wait_status);
    bool killed = ran && run->forced && !exited && SIGNAL_OF(e->wait_status) == SIGKILL; /* with the jail */
    line_char(l, '{');
    field(l, "status");
    line_json(l, outcome_name(!ran ? SETUP_FAILED : killed ? KILLED : exited ? EXITED_NORMALLY : SIGNALED));
    number_or_null(l, "exit_code", EXIT_CODE(e->wait_status), ran && exited);
    number_or_null(l, "signal", SIGNAL_OF(e->wait_status), ran && !exited && !killed);
    seconds(l, "wall_seconds", e->wall_us);
    seconds(l, "cpu_user_seconds", e->user_us);
    seconds(l, "cpu_system_seconds", e->system_us);
    error(l, run, &e->failure, e->command);
    line_char(l, '}');
}

long outcome_write(const struct run *run, const struct verdict *v)
{
    LINE(l, 16384);
    if (run->outcome < 0)
        return 0;
    enum ending end = outcome_ending(run, v);
    line_char(&l, '{');
    field(&l, "status");
    line_json(&l, outcome_name(end));
    bool ran = v->known && end != SETUP_FAILED && end != KILLED;
    number_or_null(&l, "exit_code", EXIT_CODE(v->wait_status), ran && EXITED(v->wait_status));
    number_or_null(&l, "signal", SIGNAL_OF(v->wait_status), ran && !EXITED(v->wait_status));
    seconds(&l, "wall_seconds", v->wall_us);
    seconds(&l, "cpu_user_seconds", outcome_cpu_us(v->user_us, run->base_user_us));
    seconds(&l, "cpu_system_seconds", outcome_cpu_us(v->system_us, run->base_system_us));
    number_or_null(&l, "peak_memory_bytes", v->peak_memory, v->peak_memory >= 0);
    number_or_null(&l, "oom_kills", v->oom_kills, v->oom_kills >= 0);
    number_or_null(&l, "pids_peak", v->pids_peak, v->pids_peak >= 0);
    limits_hit(&l, run, v);
    long done = audited(&l, run);
    enforced(&l, run->plan);
    error(&l, run, &v->failure, run->command);
    line_text(&l, "}\n");
    if (done < 0)
        return done;
    return l.full ? -EOVERFLOW : sys_write_all(run->outcome, l.data, l.used);
}
