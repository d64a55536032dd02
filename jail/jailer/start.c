/* The way in without libc: relocate ourselves (static PIE), seed the stack guard, call the program.
 * A C library's start-up costs more here than parsing the plan and every check before the clone together. */
#ifndef PYJAIL_HOSTED
#include "sys.h"
#include "text.h"
#include <elf.h>
#include <linux/auxvec.h>

int program(int argc, char **argv, char **envp);

uintptr_t __stack_chk_guard;

__attribute__((noreturn)) void __stack_chk_fail(void)
{
    static const char text[] = "pyjail: stack smashed; this is a bug\n";
    sys_write(2, text, sizeof text - 1);
    SYS(__NR_kill, SYS_0(__NR_getpid), 6);
    for (;;)
        sys_exit(125);
}

#define NO_IDIOM __attribute__((optimize("no-tree-loop-distribute-patterns")))

NO_IDIOM void *memcpy(void *to, const void *from, size_t n)
{
#if defined(__x86_64__)
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return result;
#else
    for (size_t i = 0; i < n; i++)
        ((char *)to)[i] = ((const char *)from)[i];
    return to;
#endif
}

NO_IDIOM void *memmove(void *to, const void *from, size_t n)
{
    char *t = to;
    const char *f = from;
    if (t <= f || t >= f + n)
        return memcpy(to, from, n);
    while (n--)
        t[n] = f[n];
    return to;
}

NO_IDIOM void *memset(void *to, int byte, size_t n)
{
#if defined(__x86_64__)
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
    return to;
#endif
    for (size_t i = 0; i < n; i++)
        ((char *)to)[i] = (char)byte;
    return to;
}

NO_IDIOM int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

extern const Elf64_Dyn _DYNAMIC[] __attribute__((visibility("hidden")));
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

#if defined(__x86_64__)
#define R_RELATIVE R_X86_64_RELATIVE
__asm__(".globl _start\n.type _start,@function\n_start:\n"
        "xor %ebp,%ebp\nmov %rsp,%rdi\nand $-16,%rsp\ncall start_c\nud2\n");
#else
#define R_RELATIVE R_AARCH64_RELATIVE
__asm__(".globl _start\n.type _start,%function\n_start:\n"
        "mov x29,#0\nmov x30,#0\nmov x0,sp\nand sp,x0,#-16\nbl start_c\nbrk #0\n");
#endif

/* Every pointer in our read-only tables needs the load address added: only relative relocations exist here. */
__attribute__((optimize("no-stack-protector"))) static void relocate(uintptr_t base)
{
    const Elf64_Rela *rela = NULL;
    size_t size = 0;
    for (const Elf64_Dyn *d = _DYNAMIC; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_RELA)
            rela = (const Elf64_Rela *)(base + d->d_un.d_ptr);
        if (d->d_tag == DT_RELASZ)
            size = d->d_un.d_val;
    }
    for (size_t i = 0; i < size / sizeof *rela; i++)
        if (ELF64_R_TYPE(rela[i].r_info) == R_RELATIVE)
            *(uintptr_t *)(base + rela[i].r_offset) = base + (uintptr_t)rela[i].r_addend;
}

/* What RELRO promises and a dynamic loader would do: the relocated tables become read-only. */
__attribute__((optimize("no-stack-protector"))) static void protect(uintptr_t base)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(base + header->e_phoff);
    for (size_t i = 0; i < header->e_phnum; i++) {
        if (segment[i].p_type != PT_GNU_RELRO)
            continue;
        uintptr_t from = (base + segment[i].p_vaddr) & ~(uintptr_t)4095;
        uintptr_t to = (base + segment[i].p_vaddr + segment[i].p_memsz) & ~(uintptr_t)4095;
        if (to > from && SYS(__NR_mprotect, from, to - from, 1 /* PROT_READ */) != 0)
            sys_exit(125);
    }
}

__attribute__((noreturn, used, optimize("no-stack-protector"))) void start_c(uintptr_t *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1), **envp = argv + argc + 1, **end = envp;
    relocate((uintptr_t)__ehdr_start);
    protect((uintptr_t)__ehdr_start);
    while (*end)
        end++;
    for (uintptr_t *aux = (uintptr_t *)(end + 1); aux[0] != AT_NULL; aux += 2)
        if (aux[0] == AT_RANDOM)
            memcpy(&__stack_chk_guard, (void *)aux[1], sizeof __stack_chk_guard);
    __stack_chk_guard &= ~(uintptr_t)0xff; /* a zero byte first stops an overflow by a string */
    for (;;)
        sys_exit(program(argc, argv, envp));
}
#else
int program(int argc, char **argv, char **envp);
int main(int argc, char **argv, char **envp)
{
    return program(argc, argv, envp);
}
#endif
