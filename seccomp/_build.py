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

    void free(void *);
    """
)

ffibuilder.set_source(
    "seccomp._libseccomp",
    """
    #include <stdlib.h>
    #include <string.h>
    #include <seccomp.h>

    #if SCMP_VER_MAJOR < 2 || (SCMP_VER_MAJOR == 2 && SCMP_VER_MINOR < 5)
    #error "seccomp needs libseccomp 2.5 or newer"
    #endif
    """,
    libraries=["seccomp"],
    py_limited_api=True,
    define_macros=[("Py_LIMITED_API", "0x030b0000")],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
