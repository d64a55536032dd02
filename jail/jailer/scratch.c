/* Whether a folder in memory was full when the run ended: the kernel counts no refused writes, but shows what is left.
 * The jail's side hands its folders over by descriptor, since paths in the jail are the payload's to move. */
#include "run.h"
#include <asm/statfs.h>

static int folders[CHANNEL_FDS]; /* the supervisor's */
static unsigned folder_count;

/* As many as one message holds; nobody has more than a few. */
bool scratch_send(struct run *run, struct failure *f)
{
    struct parcel p = {.kind = PARCEL_SCRATCH};
    int fds[CHANNEL_FDS];
    unsigned count = 0;
    if (run->outcome < 0 && !run->plan->stats)
        return true; /* nobody asks */
    for (unsigned i = 0; i < run->plan->node_count && count < CHANNEL_FDS; i++) {
        const struct node *n = &run->plan->nodes[i];
        if (n->kind == NODE_TMPFS && !(n->flags & FLAG_RO))
            fds[count++] = n->tree;
    }
    long done = count ? channel_send(run->control[1], &p, sizeof p, fds, count) : 0;
    if (done != -EPIPE && done != -ECONNRESET) /* the supervisor has given up: we shall hear so */
        TRY(f, STEP_GO, 0, done);
    return true;
}

void scratch_keep(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count && folder_count < COUNT(folders); i++)
        folders[folder_count++] = fds[i];
}

void scratch_read(struct verdict *v)
{
    struct statfs s;
    for (unsigned i = 0; i < folder_count; i++) {
        if (SYS(__NR_fstatfs, folders[i], &s) == 0) {
            v->no_room = v->no_room || (s.f_blocks > 0 && s.f_bfree == 0); /* 0 of 0: without a limit */
            v->no_files = v->no_files || (s.f_files > 0 && s.f_ffree == 0);
        }
        sys_close(folders[i]);
    }
    folder_count = 0;
}
