#include "bpf.h"
#include "text.h"

/* All that our compiler and libseccomp's make use of: words of the call, comparisons with constants, masks, constant
 * results. (It is also what the kernel can tell in advance, so that allowed calls cost nothing.) */
enum {
    LOAD = BPF_LD | BPF_W | BPF_ABS,
    MASK = BPF_ALU | BPF_AND | BPF_K,
    JUMP = BPF_JMP | BPF_JA,
    EQUAL = BPF_JMP | BPF_JEQ | BPF_K,
    ABOVE = BPF_JMP | BPF_JGT | BPF_K,
    AT_LEAST = BPF_JMP | BPF_JGE | BPF_K,
    ANY_BIT = BPF_JMP | BPF_JSET | BPF_K,
    RETURN = BPF_RET | BPF_K,
};

/* `left`: the instructions behind it. Jumps only go forward, so no program runs on forever. */
static bool known(const struct sock_filter *i, unsigned left)
{
    switch (i->code) {
    case LOAD:
        return i->k % 4 == 0 && i->k < sizeof(struct seccomp_data) && left > 0;
    case MASK:
        return left > 0;
    case JUMP:
        return i->k < left;
    case EQUAL:
    case ABOVE:
    case AT_LEAST:
    case ANY_BIT:
        return i->jt < left && i->jf < left;
    default:
        return i->code == RETURN;
    }
}

bool bpf_known(const struct sock_filter *program, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!known(&program[i], count - i - 1))
            return false;
    return count > 0;
}

uint32_t bpf_run(const struct sock_filter *program, const struct seccomp_data *call)
{
    uint32_t words[sizeof *call / 4], a = 0;
    memcpy(words, call, sizeof words);
    for (const struct sock_filter *i = program;; i++) {
        switch (i->code) {
        case LOAD:
            a = words[i->k / 4];
            break;
        case MASK:
            a &= i->k;
            break;
        case JUMP:
            i += i->k;
            break;
        case EQUAL:
            i += a == i->k ? i->jt : i->jf;
            break;
        case ABOVE:
            i += a > i->k ? i->jt : i->jf;
            break;
        case AT_LEAST:
            i += a >= i->k ? i->jt : i->jf;
            break;
        case ANY_BIT:
            i += a & i->k ? i->jt : i->jf;
            break;
        default:
            return i->k;
        }
    }
}
