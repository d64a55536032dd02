"""`pyjail seccomp …`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from unit.test_seccomp_oci import DOCKER

import jail
from jail.cli import main
from jail.cli.options import MACHINES
from jail.plan import Plan
from seccomp import Policy, _calls, disassemble, profiles

ROOT = str(Path(jail.__file__).parents[1])
MAIN = f"import sys; sys.path.insert(0, {ROOT!r}); from jail.cli import main; sys.exit(main())"
OWN = """default = "EPERM"
[[rule]]
calls = ["read", "write", "execve", "exit", "exit_group"]
action = "allow"
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return str(path)


@pytest.fixture
def docker(tmp_path: Path) -> str:
    path = tmp_path / "docker.json"
    path.write_text(json.dumps(DOCKER))
    return str(path)


def out(capfd: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["seccomp", *words]) == status
    captured = capfd.readouterr()
    assert captured.err == ""
    return captured.out


def error(capfd: pytest.CaptureFixture[str], *words: str, status: int = 2) -> str:
    assert main(["seccomp", *words]) == status
    captured = capfd.readouterr()
    assert captured.out == ""
    return captured.err


def test_the_machines_are_those_that_policies_know() -> None:
    assert tuple(_calls.MACHINES) == MACHINES


@pytest.mark.parametrize("profile", profiles())
def test_show_names_every_call_and_reason_once(profile: str, capfd: pytest.CaptureFixture[str]) -> None:
    text = out(capfd, "show", profile)
    policy = Policy.named(profile)
    words = text.split()
    unconditional = [name for number, rule in policy.table().items() if not rule.when
                     and (name := _calls.name(number, "x86_64"))]  # fmt: skip
    assert [name for name in unconditional if name not in words] == []
    flat = " ".join(words)
    assert [rule.reason for rule in policy.rules if " ".join(rule.reason.split()) not in flat] == []
    assert f"calls not here  {policy.default}\n" in text


def test_show_is_of_the_default_profile_if_none_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert out(capfd, "show") == out(capfd, "show", "default")
    assert "Refused: the process is killed: " in out(capfd, "show", "--strict")


def test_show_groups_calls_that_have_no_reason(own: str, capfd: pytest.CaptureFixture[str]) -> None:
    text = out(capfd, "show", own)
    assert "  @basic-io: reading, writing and duplicating open descriptors\n      read write\n" in text
    assert "Allowed: 5 calls\n" in text


@pytest.mark.parametrize("machine", MACHINES)
def test_show_as_json_is_the_whole_table(machine: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(out(capfd, "show", "network", "--json", "--arch", machine))
    table = Policy.named("network").table(machine)
    assert {each["number"] for each in found["calls"]} == set(table)
    assert (found["default"], found["foreign"], found["machine"]) == ("ENOSYS", "kill", machine)
    socket = next(each for each in found["calls"] if each["name"] == "socket")
    assert socket["action"] == "EPERM"
    assert socket["cases"][0]["action"] == "allow"
    conditions = [condition for row in socket["cases"][0]["when"] for condition in row]
    assert {"arg": 2, "mask": 0xFFFFFFFF, "op": "==", "value": 262} in conditions


def remedy(text: str) -> Policy:
    """The policy file that an explanation offers."""
    lines = text[text.index("To allow") :].splitlines()
    return Policy.from_toml("\n".join(line.removeprefix("  ") for line in lines if line.startswith("  ")))


@pytest.mark.parametrize(("call", "name", "args"), [
    ("ptrace", "ptrace", ()), ("101", "ptrace", ()),
    ("socket(AF_PACKET, SOCK_RAW, 0)", "socket", (17, 3, 0)),
    ("ioctl(_, TIOCSTI)", "ioctl", (0, 0x5412)),
    ("clone(CLONE_NEWUSER|SIGCHLD)", "clone", (0x10000011,)),
    ("vserver", "vserver", ()),
])  # fmt: skip
def test_explain_offers_what_allows_it(
    call: str, name: str, args: tuple[int, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    text = out(capfd, "explain", "default", call)
    action = Policy.named("default").decide(name, args)
    assert text.splitlines()[0].endswith(f"under default: {action}")
    assert remedy(text).decide(name, args) == "allow"
    assert remedy(text).decide("chroot") == "EPERM"
    assert f"pyjail run --seccomp ./default-{name}.toml -- COMMAND\n" in text


def test_explain_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    assert "why: key rings are not divided by namespaces\n" in out(capfd, "explain", "default", "keyctl")
    assert "no rule names it" in out(capfd, "explain", "default", "vserver")
    assert "do without it" in out(capfd, "explain", "default", "clone3")
    text = out(capfd, "explain", "default", "read")
    assert "under default: allow\n" in text
    assert "To allow" not in text
    assert "hangs on its arguments 0, 1, 2" in out(capfd, "explain", "default", "socket(AF_INET)")
    assert "--strict --seccomp" in out(capfd, "explain", "--strict", "default", "keyctl")


def test_explain_of_files_says_what_to_change(
    own: str, docker: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text = out(capfd, "explain", own, "ptrace")
    assert f"put this in {own}, in place of what it says of ptrace:" in text
    assert f"--seccomp {own} -- COMMAND" in text
    text = out(capfd, "explain", docker, "keyctl")
    assert f"pyjail seccomp compile --format toml {docker} -o {docker.removesuffix('json')}toml\n" in text


def test_explain_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(out(capfd, "explain", "--json", "default", "socket(17, _, 0)"))
    assert (found["call"], found["number"], found["args"], found["actions"]) == (
        "socket", 41, [17, None, 0], ["EPERM"])  # fmt: skip
    assert found["remedy"].startswith("[[rule]]\n")
    assert json.loads(out(capfd, "explain", "--json", "default", "read"))["remedy"] is None


@pytest.mark.parametrize(("words", "text"), [
    (["explain", "default", "ptrase"], "no such system call: 'ptrase'; did you mean ptrace"),
    (["explain", "default", "@timer"], "@timer is a group; name one of its calls: alarm, "),
    (["explain", "default", "9999"], "x86_64 has no system call 9999 that is known here\n"),
    (["explain", "default", "socket(AF_FOO)"], "'socket(AF_FOO)': 'AF_FOO' is no number"),
    (["explain", "default", "socket(1,2,3,4,5,6,7)"], "'socket(1,2,3,4,5,6,7)' has 7 arguments"),
    (["explain", "default", "so cket"], "'so cket' is no call; write ptrace, or"),
    (["explain", "default"], "usage: pyjail seccomp explain [options] PROFILE|FILE CALL[(ARG,...)]\n"),
    (["show", "dafault"], "no profile 'dafault'; did you mean default?"),
    (["show", "zzz"], "no profile 'zzz'; there are build, compute,"),
    (["show", "./none.toml"], "cannot read ./none.toml: No such file or directory\n"),
    (["show", "--arch", "vax"], "--arch: expected x86_64 or"),
    (["diff", "default"], "usage: pyjail seccomp diff [options] PROFILE|FILE PROFILE|FILE\n"),
    (["diff", "default", "./none.toml"], "cannot read ./none.toml"),
    (["compile"], "usage: pyjail seccomp compile [options] PROFILE|FILE\n"),
    (["compile", "default", "--format", "elf"], "--format: expected bpf or text or plan or toml, not 'elf'"),
    (["compile", "default", "-o", "/none/x"], "cannot write /none/x: No such file or directory\n"),
    (["check"], "usage: pyjail seccomp check [options] FILE...\n"),
    (["shw"], "unknown command 'seccomp shw'; did you mean seccomp show?\n"),
])  # fmt: skip
def test_errors(words: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert error(capfd, *words).startswith(f"pyjail: {text}")


def test_a_wrong_file_is_named_with_line_and_key(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.toml"
    path.write_text(OWN.replace("allow", "alow"))
    for command in (["show"], ["explain", "read"], ["compile"], ["diff", "default"]):
        text = error(capfd, command[0], str(path), *command[1:])
        assert text.startswith(f"pyjail: {path}:4: rule[0].action: no such action: 'alow'")


def test_diff_tells_by_its_status(own: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert out(capfd, "diff", "default", "default") == ""
    text = out(capfd, "diff", "default", "build", status=1)
    assert "vmsplice: allow → EPERM\n" in text
    assert "\n  -   or if argument 0 in {AF_INET, AF_INET6}" in text
    assert "\n  + " in out(capfd, "diff", "build", "default", status=1)
    assert "default: ENOSYS → EPERM\n" in out(capfd, "diff", "default", own, status=1)
    found = json.loads(out(capfd, "diff", "--json", "default", "build", status=1))
    assert {"call": "vmsplice", "before": "allow", "after": "EPERM"} in found
    assert json.loads(out(capfd, "diff", "--json", "build", "build")) == []


def test_output_that_cannot_be_written_is_not_a_difference() -> None:
    words = ["/bin/sh", "-c", '"$0" "$@" >/dev/full', sys.executable, "-c", MAIN]
    words += ["seccomp", "diff", "default", "build"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "pyjail: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("machine", [None, *MACHINES])
def test_compile_writes_each_form(machine: str | None, tmp_path: Path, capfdbinary: Any) -> None:
    bpf = Policy.named("node").strict().compile(machine)
    words = ["seccomp", "compile", "node", "--strict", *(["--arch", machine] if machine else [])]
    assert main([*words, "-o", str(tmp_path / "f.bpf")]) == 0
    assert (tmp_path / "f.bpf").read_bytes() == bpf
    assert main(words) == 0
    assert capfdbinary.readouterr().out == bpf
    assert main([*words, "--format", "text"]) == 0
    assert capfdbinary.readouterr().out.decode() == disassemble(bpf, machine)
    assert main([*words, "--format=toml"]) == 0
    assert Policy.from_toml(capfdbinary.readouterr().out.decode()).compile(machine) == bpf


def test_compile_writes_the_line_of_a_plan(capfdbinary: Any) -> None:
    from jail.directives import Seccomp

    assert main(["seccomp", "compile", "default", "--format", "plan"]) == 0
    line = capfdbinary.readouterr().out
    assert main(["plan", "--", "true"]) == 0
    plan = capfdbinary.readouterr().out
    assert line in plan.splitlines(keepends=True)
    assert Plan.from_bytes(plan).of(Seccomp)[0].program == Policy.named("default").compile()


def test_a_docker_profile_is_imported(docker: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "made.toml")
    assert out(capfd, "compile", docker, "--format", "toml", "-o", path) == ""
    assert out(capfd, "diff", docker, path) == ""
    assert Policy.from_file(path).compile() == Policy.from_file(docker).compile()
    assert main(["seccomp", "check", path, docker]) == 0
    assert capfd.readouterr().out.count(": ok: ") == 2


def test_a_program_never_lands_on_a_terminal() -> None:
    master, slave = pty.openpty()
    done = subprocess.run([sys.executable, "-c", MAIN, "seccomp", "compile", "default"],
                          stdout=slave, stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    os.close(slave)
    try:
        shown = os.read(master, 100)
    except OSError:  # EIO: nothing was written
        shown = b""
    os.close(master)
    assert (done.returncode, shown) == (2, b"")
    assert "-o FILE" in done.stderr


def test_an_existing_file_is_replaced_as_a_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("mine")
    assert main(["seccomp", "compile", "zzz", "--format", "toml", "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert main(["seccomp", "compile", "default", "--format", "toml", "-o", str(path)]) == 0
    assert path.read_text().startswith("description = ")
    assert os.listdir(tmp_path) == ["p.toml"]


@pytest.mark.parametrize("kind", ["fifo", "/dev/stdout"])
def test_what_is_no_file_is_written_to(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "fifo") if kind == "fifo" else kind
    if kind == "fifo":
        os.mkfifo(path)
    script = 'timeout 60 cat "$0" | wc -c & "$@"; wait' if kind == "fifo" else '"$@" | wc -c'
    words = [sys.executable, "-c", MAIN, "seccomp", "compile", "default", "-o", path]
    done = subprocess.run(["/bin/sh", "-c", script, path, *words], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(Policy.named("default").compile())
    assert os.path.islink(path) or not os.path.isfile(path)


def test_check_looks_at_every_file(
    own: str, docker: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('default = "EPERM"\n\n[[rule]]\ncalls = [\n  "reed",\n]\naction = "allow"\n')
    assert main(["seccomp", "check", own, str(wrong), docker]) == 1
    captured = capfd.readouterr()
    assert [line.split(": ")[:2] for line in captured.out.splitlines()] == [[own, "ok"], [docker, "ok"]]
    assert captured.err.startswith(f"pyjail: {wrong}:5: rule[0].calls: no such system call: 'reed'\n")
    assert f"pyjail: {docker}: note: nothing can be started under it, since that takes execve" in captured.err
    assert main(["seccomp", "check", str(wrong), "/none.toml", own]) == 2
    assert "cannot read /none.toml: No such file" in capfd.readouterr().err


def test_what_is_wrong_never_lands_on_stdout(own: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("default = 1")
    for words in (["check", str(wrong)], ["check", "/none.toml"], []):
        script = ["/bin/sh", "-c", '"$0" "$@" 2>&-', sys.executable, "-c", MAIN, "seccomp", *words]
        done = subprocess.run(script, capture_output=True, check=False)
        assert (done.returncode > 0, done.stdout) == (True, b"")


def test_check_as_json(own: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"defaultAction": "SCMP_ACT_FOO"}')
    found = json.loads(out(capfd, "check", "--json", own, str(wrong), status=1))
    assert [each["state"] for each in found] == ["ok", "wrong"]
    assert (found[1]["error"]["line"], found[1]["error"]["key"]) == (1, "defaultAction")


def test_every_shipped_profile_is_right(capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(ROOT, "seccomp", "profiles")
    text = out(capfd, "check", *map(str, sorted(folder.glob("*.toml"))))
    assert text.count(": ok: ") == len(profiles())


def test_a_policy_that_is_too_large_is_wrong(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calls = [name for number in range(400) if (name := _calls.name(number, "x86_64"))]
    rules = "".join(f'[[rule]]\ncalls = ["{name}"]\naction = "allow"\n'
                    f"when = [[{{ arg = 0, width = 32, is = {[index * 31 + n for n in range(30)]} }}]]\n"
                    for index, name in enumerate(calls))  # fmt: skip
    path = tmp_path / "big.toml"
    path.write_text(f'default = "EPERM"\n{rules}')
    assert "needs more than the 4096 instructions" in error(capfd, "check", str(path), status=1)
