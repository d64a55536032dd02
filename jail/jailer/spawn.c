/* clone(2) with a stack of its own for the child, which no C compiler can express. */
#include "run.h"

/* The child calls act(argument) on its stack, and ends with status 0 when that returns. */
long spawn(unsigned long flags, void *stack_top, int *tid, void (*act)(void *), void *argument)
{
    void **stack = (void **)stack_top - 2; /* still aligned to 16 bytes, with what the child starts from */
    stack[0] = (void *)act;
    stack[1] = argument;
#if defined(__x86_64__)
    long pid;
    register long child_tid __asm__("r10") = (long)tid;
    register long tls __asm__("r8") = 0;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "pop %%rax\n\t"
                     "pop %%rdi\n\t"
                     "call *%%rax\n\t"
                     "xor %%edi, %%edi\n\t"
                     "mov %[exit], %%eax\n\t"
                     "syscall\n\t"
                     "1:"
                     : "=a"(pid)
                     : "a"(__NR_clone), "D"(flags), "S"(stack), "d"(tid), "r"(child_tid), "r"(tls), [exit] "i"(__NR_exit)
                     : "rcx", "r11", "memory", "cc");
    return pid;
#else
    register long x8 __asm__("x8") = __NR_clone;
    register long x0 __asm__("x0") = (long)flags;
    register long x1 __asm__("x1") = (long)stack;
    register long x2 __asm__("x2") = (long)tid;
    register long x3 __asm__("x3") = 0; /* tls comes before child_tid here */
    register long x4 __asm__("x4") = (long)tid;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "ldp x9, x0, [sp], #16\n\t"
                     "blr x9\n\t"
                     "mov x0, #0\n\t"
                     "mov x8, %[exit]\n\t"
                     "svc 0\n\t"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), [exit] "i"(__NR_exit)
                     : "memory", "cc", "x9", "x30");
    return x0;
#endif
}
