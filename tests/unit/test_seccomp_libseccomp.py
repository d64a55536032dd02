"""Our binding against libseccomp's own (python3-seccomp), which runs in a process of its own."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from unit.seccomp_scripts import MORE

import seccomp

SYSTEM_PYTHON = "/usr/bin/python3"

# Both run each of these: `f` is a filter, `out` an open file, `t(call)` prints a result or an error.
SCRIPTS = {
    "constants": """
names = "ALLOW KILL KILL_PROCESS TRAP LOG NOTIFY NE LT LE EQ GE GT MASKED_EQ"
for name in names.split(): print(name, getattr(s, name))
for kind in s.Arch, s.Attr:
    numbers = [(name, value) for name, value in vars(kind).items() if name.isupper()]
    print(sorted(numbers))
print(s.system_arch(), s.ERRNO(5), s.ERRNO(-1), s.TRACE(3))
print(int(s.Arch()), int(s.Arch("x86_64")), int(s.Arch(s.Arch.ARM)))
""",
    "resolving": """
t(lambda: s.resolve_syscall(s.Arch(), "read")); t(lambda: s.resolve_syscall(s.Arch.X86_64, "openat"))
t(lambda: s.resolve_syscall(s.Arch(), 2)); t(lambda: s.resolve_syscall(s.Arch(), 20000))
t(lambda: s.resolve_syscall(s.Arch("aarch64"), "open")); t(lambda: s.resolve_syscall(s.Arch(), "nosuch"))
t(lambda: s.resolve_syscall(s.Arch(), None)); t(lambda: s.resolve_syscall("x86", 1))
""",
    "errors of rules": """
t(lambda: f.add_rule(s.ALLOW, "read")); t(lambda: f.add_rule(s.KILL, "nosuch"))
t(lambda: f.add_rule(s.KILL, 1.5))
t(lambda: f.add_rule(77, "write")); t(lambda: f.add_rule(2**31, "write"))
t(lambda: f.add_rule(s.KILL, -2))
t(lambda: f.add_rule(s.KILL, "read", s.Arg(7, s.EQ, 1)))
t(lambda: f.add_rule(s.KILL, "read", s.Arg(0, s.EQ, 1), s.Arg(0, s.EQ, 2)))
t(lambda: f.add_rule(s.KILL, "read", 3)); t(lambda: f.add_rule(s.KILL, "read", *[s.Arg(0, s.EQ, 1)] * 7))
t(lambda: f.add_rule_exactly(s.KILL, "nosuch"))
""",
    "errors of arguments": """
t(lambda: s.Arg(0, s.EQ, -1)); t(lambda: s.Arg(-1, s.EQ, 1)); t(lambda: s.Arg(0, s.EQ, 2**64))
t(lambda: s.Arg(0, s.EQ, "x")); t(lambda: s.Arg("x", s.EQ, 1))
""",
    "errors of filters": """
t(lambda: s.SyscallFilter(12345)); t(lambda: s.SyscallFilter("x")); t(lambda: s.SyscallFilter(2**31))
t(lambda: f.set_attr(99, 1)); t(lambda: f.set_attr(s.Attr.ACT_DEFAULT, 0))
t(lambda: f.set_attr(s.Attr.CTL_NNP, 7))
t(lambda: f.get_attr(99)); t(lambda: f.get_attr(s.Attr.ACT_DEFAULT))
t(lambda: f.get_attr(s.Attr.CTL_OPTIMIZE))
t(lambda: f.reset(55)); t(lambda: f.export_bpf(3))
t(lambda: f.syscall_priority("read", 300)); t(lambda: f.syscall_priority("read", 255))
t(lambda: f.syscall_priority("nosuch", 1)); t(lambda: f.syscall_priority(None, 1))
t(lambda: s.set_api(-1)); t(lambda: s.set_api(99)); t(lambda: s.get_api())
""",
    "architectures": """
t(lambda: s.Arch("x")); t(lambda: s.Arch(1.5)); t(lambda: s.Arch(5))
t(lambda: f.add_arch(123)); t(lambda: f.add_arch(s.Arch.X86_64)); t(lambda: f.exist_arch(123))
t(lambda: f.exist_arch(s.Arch.X86_64)); t(lambda: f.exist_arch(s.Arch()))
t(lambda: f.exist_arch(s.Arch("arm")))
t(lambda: f.add_arch("x86")); t(lambda: f.remove_arch(s.Arch.ARM)); t(lambda: f.exist_arch(s.Arch.ARM))
""",
    "a filter with arguments": """
f.reset(s.ERRNO(38))
f.set_attr(s.Attr.ACT_BADARCH, s.KILL_PROCESS)
for name in "read", "write", "close", "exit_group": f.add_rule(s.ALLOW, name)
f.add_rule(s.ALLOW, "socket", s.Arg(0, s.EQ, 1))
f.add_rule(s.ALLOW, "socket", s.Arg(0, s.EQ, 2), s.Arg(1, s.NE, 3))
f.add_rule(s.ERRNO(1), "ioctl", s.Arg(1, s.MASKED_EQ, 0xffffffff, 0x5412))
f.add_rule(s.TRAP, "lseek", s.Arg(1, s.GT, 2**40))
f.add_rule(s.LOG, 39); f.syscall_priority("write", 200)
f.export_pfc(out); f.export_bpf(out)
""",
    "the binary tree": """
f.set_attr(s.Attr.CTL_OPTIMIZE, 2)
for number in range(60): f.add_rule(s.ERRNO(number + 1), number)
f.export_bpf(out)
""",
    "several architectures": """
f.add_arch(s.Arch("x86")); f.add_arch(s.Arch.X32)
f.add_rule(s.KILL_PROCESS, "socket", s.Arg(0, s.GE, 3)); f.add_rule(s.KILL_PROCESS, "openat")
f.export_pfc(out); f.export_bpf(out)
""",
    "merging": """
other = s.SyscallFilter(s.ALLOW); other.add_arch(s.Arch.ARM); other.remove_arch(s.Arch())
other.add_rule(s.KILL, "read")
f.merge(other); f.export_bpf(out); t(lambda: f.merge(3))
""",
    "resetting": """
f.add_rule(s.KILL, "read"); f.reset(s.KILL); f.add_rule(s.ALLOW, "write"); f.export_bpf(out)
""",
}
FRAME = """
import os, sys, tempfile, seccomp as s
def t(call):
    try: result = call()
    except Exception as error: result = f"{type(error).__name__}: {error}"
    print(result if isinstance(result, (int, str, bytes, type(None))) else "object")
f = s.SyscallFilter(s.ALLOW)
out = tempfile.TemporaryFile()
def both(): f.export_pfc(out); f.export_bpf(out)
"""
SCRIPTS |= MORE
END = """
sys.stdout.flush(); out.seek(0); sys.stdout.buffer.write(out.read())
"""


def run(python: str, script: str, path: str, tmp_path: Path) -> str:
    code = f"import sys; sys.path[:0] = {[path] if path else []!r}\n" + FRAME + script + END
    done = subprocess.run(
        [python, "-I", "-c", code],
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("latin-1")


def has_binding() -> bool:
    test = [
        SYSTEM_PYTHON,
        "-I",
        "-c",
        "import seccomp; seccomp.SyscallFilter; assert seccomp.__file__.endswith('.so')",
    ]
    return (
        os.path.exists(SYSTEM_PYTHON)
        and subprocess.run(test, capture_output=True, cwd="/", check=False).returncode == 0
    )


@pytest.mark.skipif(not has_binding(), reason="python3-seccomp is not installed")
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_same_results_errors_and_programs_as_the_librarys_binding(script: str, tmp_path: Path) -> None:
    here = str(Path(seccomp.__file__).parent.parent)
    assert run(sys.executable, script, here, tmp_path) == run(SYSTEM_PYTHON, script, "", tmp_path)


@pytest.mark.skipif(not has_binding(), reason="python3-seccomp is not installed")
def test_the_number_of_compared_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    exporting = sum("both()" in script or "export" in script for script in SCRIPTS.values())
    with capsys.disabled():
        print(f"\n{len(SCRIPTS)} scripts are compared with python3-seccomp, {exporting} of them export")
    assert exporting >= 25


def test_freed_and_merged_filters_do_no_harm() -> None:
    for _ in range(200):
        one, two = seccomp.SyscallFilter(seccomp.ALLOW), seccomp.SyscallFilter(seccomp.ALLOW)
        two.add_arch(seccomp.Arch.ARM)
        two.remove_arch(seccomp.Arch())
        one.merge(two)
        two.add_rule(seccomp.KILL, "read")  # the emptied filter is usable
        del one, two
    gc.collect()
    one = seccomp.SyscallFilter(seccomp.ALLOW)
    with pytest.raises(RuntimeError):
        one.merge(one)


def test_one_filter_in_many_threads(tmp_path: Path) -> None:
    shared = seccomp.SyscallFilter(seccomp.ALLOW)

    def add(start: int) -> None:
        for number in range(start, start + 60):
            shared.add_rule(seccomp.ERRNO(1), number)

    threads = [threading.Thread(target=add, args=(start,)) for start in range(0, 300, 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(tmp_path / "bpf", "w+b") as file:
        shared.export_bpf(file)
        file.seek(0)
        program = file.read()
    assert all(seccomp.evaluate(program, number) == 0x50001 for number in range(300))
    assert seccomp.evaluate(program, 300) == 0x7FFF0000


def test_every_name_of_the_package_is_there() -> None:
    for name in seccomp.__all__:
        assert getattr(seccomp, name) is not None
    with pytest.raises(AttributeError, match="nosuch"):
        seccomp.nosuch  # noqa: B018


def test_a_missing_library_is_said_in_one_line(tmp_path: Path) -> None:
    """A copy of the package without its extension."""
    copy = tmp_path / "seccomp"
    copy.mkdir()
    for file in Path(seccomp.__file__).parent.glob("*.py"):
        (copy / file.name).write_bytes(file.read_bytes())
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import seccomp\n"
    code += "try: seccomp.SyscallFilter\nexcept seccomp.LibraryMissingError as error: print(error)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "libseccomp-dev" in done.stdout
