/* The supervisor answers for the policy: what its program says of the call is what happens. Only the number and the
 * registers are looked at: memory behind a pointer is the payload's to change. */
#include "audit.h"
#include "peers.h"
#include <asm/ioctl.h>
#include <asm/signal.h>

#define MOST_ERRNO 4095
#define MOST_STATUS 8192 /* of /proc/PID/status; a caller with hundreds of groups has a long one */

static bool allows(uint32_t action)
{
    action &= SECCOMP_RET_ACTION_FULL;
    return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

static uint32_t decide(const struct plan *plan, const struct seccomp_data *call)
{
    uint32_t action = bpf_run(plan->program, call);
    if (allows(action) && (plan->audit != AUDIT_ALL || audit_opens_listener(call)))
        return SECCOMP_RET_ERRNO | EBUSY; /* what the kernel says to a second listener */
    return action;
}

static long control(const struct run *run, unsigned long request, void *data)
{
    long done;
    do
        done = SYS(__NR_ioctl, run->listener, request, data);
    while (done == -EINTR);
    return done;
}

/* It is gone where the caller has been killed meanwhile. */
static void answer(const struct run *run, uint64_t id, uint32_t action)
{
    struct seccomp_notif_resp response = {.id = id};
    unsigned error = action & SECCOMP_RET_DATA;
    if (allows(action))
        response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else
        response.error = -(int)(error > MOST_ERRNO ? MOST_ERRNO : error);
    control(run, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* The process's id in the jail: the second number of "NStgid: OURS THE-JAIL'S …"; 0 if that cannot be read. */
static int id_inside(int process)
{
    static const char name[] = "\nNStgid:\t";
    static char text[MOST_STATUS];
    int id = 0, fd = sys_open(process, "status", O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? fd : sys_read(fd, text, sizeof text - 1);
    if (fd >= 0)
        sys_close(fd);
    text[n < 0 ? 0 : n] = 0;
    const char *at = text;
    while (*at && !text_starts(at, name))
        at++;
    for (at += *at ? sizeof name - 1 : 0; *at >= '0' && *at <= '9'; at++)
        ; /* ours */
    for (at += *at == '\t'; *at >= '0' && *at <= '9'; at++)
        id = id * 10 + (*at - '0');
    return id;
}

/* In the kernel's place, and as surely: the caller waits for an answer and never gets one. Its id names it as long as
 * it waits, so the folder that was opened by that id is its own if it waits still. The kernel would have raised SIGSYS,
 * which from outside a process can ignore; the outcome tells it as what it stands for. */
static bool kill_process(const struct run *run, struct verdict *v, const struct seccomp_notif *n)
{
    LINE(path, 32);
    uint64_t id = n->id;
    line_text(&path, "/proc/");
    line_number(&path, n->pid, 10);
    int process = sys_open(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    bool payload = process >= 0 && id_inside(process) == run->payload;
    bool waits = control(run, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) >= 0;
    long done = waits ? SYS(__NR_pidfd_send_signal, process, SIGKILL, 0, 0) : 0;
    if (process >= 0)
        sys_close(process);
    v->killed_by_policy |= payload && waits;
    return done >= 0 || done == -ESRCH;
}

bool audit_serve(struct run *run, struct verdict *v)
{
    union {
        struct seccomp_notif one;
        char room[512]; /* for a kernel that tells more */
    } heard = {.room = {0}};
    const struct seccomp_data *call = &heard.one.data;
    if (control(run, SECCOMP_IOCTL_NOTIF_RECV, &heard) < 0)
        return true; /* killed before we came to it */
    uint32_t action = decide(run->plan, call);
    tally_add(call, action);
    if (!allows(action))
        event_denied(run, call);
    if ((action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_KILL_PROCESS)
        return kill_process(run, v, &heard.one);
    answer(run, heard.one.id, action);
    return true;
}
