/* Classic BPF as seccomp(2) runs it: what a program says of a call, without the kernel. */
#ifndef PYJAIL_BPF_H
#define PYJAIL_BPF_H

#include "sys.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#else
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

/* Whether every instruction is one that compilers of policies emit, and every way through the program ends. Nothing
 * else may be run. */
bool bpf_known(const struct sock_filter *program, unsigned count);

/* SECCOMP_RET_…, its data included. */
uint32_t bpf_run(const struct sock_filter *program, const struct seccomp_data *call);

#endif
