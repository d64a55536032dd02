"""Builds `seccomp._libseccomp`, the one place where C meets Python (cffi, API mode, one abi3 module).

setup.py names it as `cffi_modules=["seccomp/_build.py:ffibuilder"]`. Needs gcc and libseccomp-dev.
"""

from __future__ import annotations

from cffi import FFI

ffibuilder = FFI()

ffibuilder.cdef(
    """
    typedef void *scmp_filter_ctx;

    struct scmp_version { unsigned int major; unsigned int minor; unsigned int micro; };

    enum scmp_filter_attr { _SCMP_FLTATR_MIN, ... };
    enum scmp_compare { _SCMP_CMP_MIN, ... };

    struct scmp_arg_cmp {
        unsigned int arg;
        enum scmp_compare op;
        uint64_t datum_a;
        uint64_t datum_b;
    };

    const struct scmp_version *seccomp_version(void);
    unsigned int seccomp_api_get(void);
    int seccomp_api_set(unsigned int level);

    scmp_filter_ctx seccomp_init(uint32_t def_action);
    int seccomp_reset(scmp_filter_ctx ctx, uint32_t def_action);
    void seccomp_release(scmp_filter_ctx ctx);
    int seccomp_merge(scmp_filter_ctx ctx_dst, scmp_filter_ctx ctx_src);

    uint32_t seccomp_arch_resolve_name(const char *arch_name);
    uint32_t seccomp_arch_native(void);
    int seccomp_arch_exist(const scmp_filter_ctx ctx, uint32_t arch_token);
    int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);
    int seccomp_arch_remove(scmp_filter_ctx ctx, uint32_t arch_token);

    int seccomp_load(const scmp_filter_ctx ctx);
    int seccomp_attr_get(const scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t *value);
    int seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value);

    char *seccomp_syscall_resolve_num_arch(uint32_t arch_token, int num);
    int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name);
    int seccomp_syscall_resolve_name_rewrite(uint32_t arch_token, const char *name);
    int seccomp_syscall_resolve_name(const char *name);
    int seccomp_syscall_priority(scmp_filter_ctx ctx, int syscall, uint8_t priority);

    int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall,
                               unsigned int arg_cnt, const struct scmp_arg_cmp *arg_array);
    int seccomp_rule_add_exact_array(scmp_filter_ctx ctx, uint32_t action, int syscall,
                                     unsigned int arg_cnt, const struct scmp_arg_cmp *arg_array);

    int seccomp_export_pfc(const scmp_filter_ctx ctx, int fd);
    int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);

    struct seccomp_data { int nr; unsigned int arch; unsigned long long instruction_pointer;
                          unsigned long long args[6]; ...; };
    struct seccomp_notif { unsigned long long id; unsigned int pid; unsigned int flags;
                           struct seccomp_data data; ...; };
    struct seccomp_notif_resp { unsigned long long id; long long val; int error; unsigned int flags; ...; };

    int seccomp_notify_alloc(struct seccomp_notif **req, struct seccomp_notif_resp **resp);
    void seccomp_notify_free(struct seccomp_notif *req, struct seccomp_notif_resp *resp);
    int seccomp_notify_receive(int fd, struct seccomp_notif *req);
    int seccomp_notify_respond(int fd, struct seccomp_notif_resp *resp);
    int seccomp_notify_id_valid(int fd, uint64_t id);
    int seccomp_notify_fd(const scmp_filter_ctx ctx);

    // Since libseccomp 2.6.
    int has_precompute(void);
    int precompute(scmp_filter_ctx ctx);
    int has_transactions(void);
    int transaction_start(scmp_filter_ctx ctx);
    int transaction_commit(scmp_filter_ctx ctx);
    void transaction_reject(scmp_filter_ctx ctx);

    void free(void *);

    long system_call(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d);
    """
)

ffibuilder.set_source(
    "seccomp._libseccomp",
    """
    #include <errno.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    #include <seccomp.h>

    #if SCMP_VER_MAJOR < 2 || (SCMP_VER_MAJOR == 2 && SCMP_VER_MINOR < 5)
    #error "seccomp needs libseccomp 2.5 or newer"
    #endif

    /* What libseccomp 2.6 has: found when the library is loaded, whichever version the header was of. */
    #pragma weak seccomp_precompute
    int seccomp_precompute(scmp_filter_ctx ctx);
    #pragma weak seccomp_transaction_start
    int seccomp_transaction_start(const scmp_filter_ctx ctx);
    #pragma weak seccomp_transaction_commit
    int seccomp_transaction_commit(const scmp_filter_ctx ctx);
    #pragma weak seccomp_transaction_reject
    void seccomp_transaction_reject(const scmp_filter_ctx ctx);

    static int has_precompute(void) { return seccomp_precompute != NULL; }
    static int precompute(scmp_filter_ctx ctx) { return seccomp_precompute(ctx); }
    static int has_transactions(void)
    {
        return seccomp_transaction_start != NULL && seccomp_transaction_commit != NULL
            && seccomp_transaction_reject != NULL;
    }
    static int transaction_start(scmp_filter_ctx ctx) { return seccomp_transaction_start(ctx); }
    static int transaction_commit(scmp_filter_ctx ctx) { return seccomp_transaction_commit(ctx); }
    static void transaction_reject(scmp_filter_ctx ctx) { seccomp_transaction_reject(ctx); }

    /* What libc has no function for.  Errors come as -errno: Python may change errno meanwhile. */
    static long system_call(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
    {
        long result = syscall(number, a, b, c, d, 0L, 0L);
        return result == -1 ? -(long)errno : result;
    }
    """,
    libraries=["seccomp"],
    py_limited_api=True,
    define_macros=[("Py_LIMITED_API", "0x030b0000")],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
