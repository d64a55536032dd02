# ruff: noqa: E501  the scripts are texts
"""Scripts for two bindings of libseccomp, which must print the same and export the same programs.

In the spirit of libseccomp's own regression scripts, subject by subject, written anew: `f` is a filter, `out` an
open file, `t(call)` prints a result or an error, `both()` exports PFC and BPF.
"""

from __future__ import annotations

MORE = {
    "one rule": "f.add_rule_exactly(s.KILL, 'read'); both()",
    "nothing but the default": "both(); f.reset(s.KILL); both()",
    "chains of arguments": """
f.reset(s.KILL)
for fd, call in ((0, 'read'), (1, 'write'), (2, 'write')): f.add_rule_exactly(s.ALLOW, call, s.Arg(0, s.EQ, fd))
for call in 'close', 'rt_sigreturn': f.add_rule_exactly(s.ALLOW, call)
both()
""",
    "many levels": """
f.reset(s.KILL)
f.add_rule_exactly(s.ALLOW, 'read', s.Arg(0, s.EQ, 0), s.Arg(1, s.NE, 0), s.Arg(2, s.LT, 2**63))
f.add_rule_exactly(s.ALLOW, 'write', s.Arg(0, s.EQ, 1), s.Arg(1, s.NE, 0), s.Arg(2, s.LE, 9), s.Arg(3, s.GE, 1))
both()
""",
    "long jumps": """
f.reset(s.KILL)
f.add_rule_exactly(s.ALLOW, 'brk')
for a in range(100):
    for b in range(4): f.add_rule_exactly(s.ALLOW, 'chdir', s.Arg(b, s.EQ, a), s.Arg(b + 1, s.NE, 0))
for number in range(100, 200): f.add_rule_exactly(s.ALLOW, number)
both()
""",
    "every action": """
for number, action in enumerate((s.KILL, s.KILL_PROCESS, s.TRAP, s.ERRNO(0), s.ERRNO(4095), s.TRACE(1234), s.LOG, s.NOTIFY, s.ALLOW)):
    t(lambda: f.add_rule(action, number))
both()
""",
    "every comparison": """
f.reset(s.TRAP)
for number, op in enumerate((s.NE, s.LT, s.LE, s.EQ, s.GE, s.GT)):
    for shift in 0, 31, 32, 63: f.add_rule_exactly(s.ALLOW, 1000 + number * 10 + shift // 16, s.Arg(shift // 16, op, 1 << shift))
f.add_rule_exactly(s.ALLOW, 2000, s.Arg(5, s.MASKED_EQ, 0xff00ff00ff00ff00, 0x1100220033004400)); both()
""",
    "comparisons of 64 bits": """
f.reset(s.ERRNO(13))
for low in 0, 1, 0xffffffff:
    for op in s.LT, s.LE, s.GE, s.GT: f.add_rule_exactly(s.ALLOW, 1000 + op, s.Arg(0, op, 0x300000000 | low))
both()
""",
    "rules that swallow others": """
f.reset(s.KILL)
f.add_rule_exactly(s.ALLOW, 1000, s.Arg(0, s.EQ, 0), s.Arg(1, s.EQ, 1)); f.add_rule_exactly(s.ALLOW, 1000, s.Arg(0, s.EQ, 0))
f.add_rule_exactly(s.ALLOW, 1001, s.Arg(0, s.EQ, 1)); f.add_rule_exactly(s.ALLOW, 1001)
f.add_rule_exactly(s.ALLOW, 1002); t(lambda: f.add_rule_exactly(s.ALLOW, 1002, s.Arg(0, s.EQ, 1)))
t(lambda: f.add_rule_exactly(s.ALLOW, 1002)); t(lambda: f.add_rule_exactly(s.ERRNO(3), 1002)); both()
""",
    "priorities before rules": """
f.reset(s.KILL)
for number, priority in ((1000, 3), (1001, 200), (1002, 255), (1003, 0)): f.syscall_priority(number, priority)
for number in range(1000, 1004): f.add_rule_exactly(s.ALLOW, number, s.Arg(0, s.EQ, number))
both()
""",
    "priorities after rules": """
f.reset(s.KILL)
for number in range(1000, 1004): f.add_rule_exactly(s.ALLOW, number)
for number, priority in ((1000, 3), (1001, 200), (1002, 255), (1003, 0)): f.syscall_priority(number, priority)
both()
""",
    "masks": """
f.reset(s.KILL)
for a, mask, value in ((0, 0xff, 1), (0, 0xffff, 0x102), (1, 0, 0), (2, 2**64 - 1, 2**63)):
    t(lambda: f.add_rule_exactly(s.ALLOW, 1000, s.Arg(a, s.MASKED_EQ, mask, value)))
both()
""",
    "attributes": """
for name in 'ACT_BADARCH', 'CTL_NNP', 'CTL_TSYNC', 'CTL_LOG', 'CTL_SSB', 'CTL_OPTIMIZE', 'API_TSKIP', 'API_SYSRAWRC':
    number = getattr(s.Attr, name); t(lambda: f.get_attr(number))
    for value in 0, 1, 2, -1, s.ALLOW, s.KILL_PROCESS: t(lambda: f.set_attr(number, value)); t(lambda: f.get_attr(number))
both()
""",
    "raw results of the library": """
f.set_attr(s.Attr.API_SYSRAWRC, 1); t(lambda: f.export_bpf(type('F', (), {'fileno': lambda self: -1})()))
t(lambda: f.add_rule(s.KILL, -2)); t(lambda: f.load)
""",
    "resolving everything": """
for name in 'x86', 'x86_64', 'x32', 'arm', 'aarch64', 'mips', 'mipsel', 'mips64', 'mipsel64', 'mips64n32', 'mipsel64n32', 'parisc', 'ppc', 'ppc64', 'ppc64le', 's390', 's390x', 'riscv64':
    arch = s.Arch(name); print(name, int(arch))
    for number in range(600): t(lambda: s.resolve_syscall(arch, number))
    for call in 'open', 'socket', 'accept4', 'ipc', 'shmget', 'socketcall', 'clone3', 'no': t(lambda: s.resolve_syscall(arch, call))
""",
    "all architectures, little-endian": """
f.remove_arch(s.Arch())
for name in 'x86', 'x86_64', 'x32', 'arm', 'aarch64', 'mipsel', 'mipsel64', 'mipsel64n32', 'ppc64le', 'riscv64': t(lambda: f.add_arch(s.Arch(name)))
for call in 'read', 'socket', 'shmget', 'openat', 'futex': t(lambda: f.add_rule(s.KILL, call, s.Arg(0, s.EQ, 1)))
both()
""",
    "all architectures, big-endian": """
t(lambda: f.add_arch(s.Arch('mips'))); f.add_arch(s.Arch.X86); f.remove_arch(s.Arch())
g = s.SyscallFilter(s.ALLOW); t(lambda: g.remove_arch(s.Arch())); t(lambda: g.add_arch(s.Arch('s390x')))
for call in 'read', 'socket', 'connect', 'semop': t(lambda: f.add_rule(s.KILL, call))
both()
""",
    "multiplexed sockets and IPC": """
f.add_arch(s.Arch('x86')); f.add_arch(s.Arch('x32'))
for call in 'socket', 'connect', 'accept', 'accept4', 'shutdown', 'recvmmsg', 'semop', 'semtimedop', 'msgget', 'shmat', 'shmctl':
    f.add_rule(s.ERRNO(5), call)
t(lambda: f.add_rule(s.KILL, 'socket', s.Arg(0, s.EQ, 1))); t(lambda: f.add_rule_exactly(s.KILL, 'connect')); both()
""",
    "merging architectures": """
g = s.SyscallFilter(s.ALLOW)
for arch in 'x86', 'arm': g.add_arch(s.Arch(arch))
g.remove_arch(s.Arch()); g.add_rule(s.KILL, 'read'); f.add_rule(s.KILL, 'write')
f.merge(g); t(lambda: f.exist_arch(s.Arch('arm'))); t(lambda: f.merge(s.SyscallFilter(s.ALLOW))); both()
""",
    "merging what does not fit": """
g = s.SyscallFilter(s.KILL); g.add_arch(s.Arch('x86')); g.remove_arch(s.Arch()); t(lambda: f.merge(g)); both()
""",
    "pseudo calls": """
t(lambda: f.add_rule(s.KILL, 'sysmips')); t(lambda: f.add_rule_exactly(s.KILL, 'sysmips')); t(lambda: f.add_rule(s.KILL, -10001))
t(lambda: f.add_rule_exactly(s.KILL, -10001)); f.add_arch(s.Arch('x86')); t(lambda: f.add_rule(s.KILL, 'umount')); both()
""",
    "the number -1": """
f.reset(s.ALLOW); t(lambda: f.syscall_priority(-1, 100)); t(lambda: f.add_rule(s.KILL, -1)); t(lambda: f.add_rule_exactly(s.TRACE(9), -1)); both()
""",
    "the binary tree of several architectures": """
f.set_attr(s.Attr.CTL_OPTIMIZE, 2); f.add_arch(s.Arch('x86')); f.add_arch(s.Arch('aarch64'))
for number, call in enumerate('read write open close stat fstat lstat poll lseek mmap mprotect munmap brk'.split()):
    f.add_rule(s.ERRNO(number + 1), call, s.Arg(1, s.GT, number)) if number % 3 else f.add_rule(s.KILL, call)
both()
""",
    "an empty binary tree": "f.set_attr(s.Attr.CTL_OPTIMIZE, 2); both(); f.add_rule(s.KILL, 'read'); both()",
    "levels of the interface": """
for level in 1, 2, 3, 4, 5, 6, 0, 7, 99:
    t(lambda: s.set_api(level)); t(lambda: s.get_api() if level else None)
    g = s.SyscallFilter(s.ALLOW)
    t(lambda: g.add_rule(s.LOG, 'read')); t(lambda: g.add_rule(s.KILL_PROCESS, 'write')); t(lambda: g.add_rule(s.NOTIFY, 'dup'))
    t(lambda: g.set_attr(s.Attr.CTL_TSYNC, 1)); t(lambda: g.set_attr(s.Attr.CTL_LOG, 1)); t(lambda: g.set_attr(s.Attr.CTL_SSB, 1))
""",
    "six arguments": """
f.add_rule(s.KILL, 1000, *[s.Arg(i, s.EQ, i) for i in range(6)]); f.add_rule(s.KILL, 1000, *[s.Arg(i, s.NE, i) for i in range(5, -1, -1)])
both()
""",
    "notifications without a listener": """
n = s.Notification(1, 2, 3, 4, 5, 6, [1, 2, 3, 4, 5, 6, 7]); r = s.NotificationResponse(n, -5, -1, 1)
for name in 'id', 'pid', 'flags', 'syscall', 'syscall_arch', 'syscall_ip': print(name, getattr(n, name))
print(n.syscall_args, r.id, r.val, r.error, r.flags)
def put(name, value): setattr(r, name, value); return getattr(r, name)
for name in 'id', 'val', 'error', 'flags':
    for value in 7, 'x', 2**70: t(lambda: put(name, value))
t(lambda: put('flags', -1)); t(lambda: put('val', -2**63)); t(lambda: put('error', 2**31 - 1))
t(lambda: s.Notification(-1, 2, 3, 4, 5, 6, [0] * 6)); t(lambda: s.Notification(1, 2, 3, 4, 5, 6, [7]))
t(lambda: f.get_notify_fd()); t(lambda: f.receive_notify()); t(lambda: f.respond_notify(r))
t(lambda: s.Arg(2**70, s.EQ, 1)); t(lambda: s.Arg(0, s.EQ, 2**70))
""",
    "loading: allowed": """
f.reset(s.ERRNO(77))
for call in 'read', 'write', 'close', 'exit_group', 'rt_sigreturn', 'lseek', 'fstat', 'newfstatat', 'munmap', 'mmap', 'brk', 'rt_sigaction', 'ioctl', 'futex', 'sigaltstack', 'madvise', 'getpid':
    f.add_rule(s.ALLOW, call)
f.load(); t(lambda: os.getpid() > 0); t(lambda: os.getppid() > 0); t(lambda: os.mkdir('x')); t(lambda: f.load())
""",
    "loading: killed": """
pid = os.fork()
if pid == 0:
    f.add_rule(s.KILL_PROCESS, 'getuid'); f.load(); os.getuid(); os._exit(0)
print(os.waitpid(pid, 0)[1])
""",
    "loading: all threads": """
import threading
f.set_attr(s.Attr.CTL_TSYNC, 1); f.add_rule(s.ERRNO(77), 'mkdir'); go = threading.Event()
def late(): go.wait(); t(lambda: os.mkdir('x'))
thread = threading.Thread(target=late); thread.start(); f.load(); go.set(); thread.join()
""",
    "notifications": """
f.add_rule(s.NOTIFY, 'getuid'); f.load(); pid = os.fork()
if pid == 0: os._exit(0 if os.getuid() == 4321 else 1)
n = f.receive_notify(); print(n.syscall == s.resolve_syscall(s.Arch(), 'getuid'), n.pid == pid, n.syscall_arch == s.system_arch(), n.flags)
f.respond_notify(s.NotificationResponse(n, 4321)); print(os.waitpid(pid, 0)[1])
t(lambda: f.respond_notify(s.NotificationResponse(n, 1)))
pid = os.fork()
if pid == 0:
    try: os._exit(os.getuid())
    except OSError as error: os._exit(error.errno)
n = f.receive_notify(); f.respond_notify(s.NotificationResponse(n, 0, 0, 1)); print(os.waitpid(pid, 0)[1] == (os.geteuid() & 255) << 8)
""",
}
