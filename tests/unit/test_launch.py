"""Starting the jailer and reading its report: what it is given, what is made of its answer. It is a fake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jail import Bind, Jail, LaunchError, Outcome, SpecError, UnsupportedError, launch, run, spawn

PROJECT = Path(__file__).resolve().parents[2]
BOX = Jail(seccomp="off")
READ_PLAN = """#!{python} -IS
import os, signal, socket, struct, sys
signal.pthread_sigmask(signal.SIG_SETMASK, ())

def served(requests):
    # A process for each request, which goes on below with what it asks for.
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        head, got, _, _ = socket.recv_fds(requests, 1 << 16, 99)
        if not head:
            os._exit(0)
        if not os.fork():
            break
        list(map(os.close, got))
    requests.close()
    _, count, variables, passed, size, _, given = struct.unpack_from("=7I", head)
    life = socket.socket(fileno=got[1])
    socket.send_fds(life, [struct.pack("=2i", os.getpid(), 0)], [os.pidfd_open(os.getpid())])
    content = os.pread(got[0], 1 << 24, 0)
    assert content.endswith(b"\\nend\\n\\0")
    parts = content[:size].split(b"\\0")
    for number, source in zip(struct.unpack_from(f"={{given}}i", head, 28), got[3:], strict=True):
        os.dup2(source, number)
    return list(map(os.fsdecode, parts[:count])), os.fsdecode(content[size:-1]), got[2], life

if sys.argv[1] == "serve":
    words, text, report, life = served(socket.socket(fileno=int(sys.argv[2])))
else:
    assert sys.argv[1] == "run-fd", sys.argv
    number, words = int(sys.argv[2]), sys.argv[3:]
    text = os.fsdecode(open(number, "rb").read())
"""
EXITED = (
    'os.write(report, b\'{"status":"exited","exit_code":3,"enforced":{"pids":"rlimit"}}\\n\')\nsys.exit(3)\n'
)
FAILED = (
    'os.write(report, b\'{"status":"setup-failed","error":{"step":"source","object":"/nope","errno":2,'
    '"errno_name":"ENOENT","line":14,"message":"cannot open /nope","hint":"make it"}}\\n\')\nsys.exit(125)\n'
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Puts an executable in the jailer's place: write the rest of its program with `become`."""
    path = tmp_path / "jailer"
    monkeypatch.setattr(launch, "JAILER", str(path))
    spawn.launcher.close()
    yield path
    spawn.launcher.close()


def become(path: Path, program: str) -> None:
    path.write_text(READ_PLAN.format(python=sys.executable) + program)
    path.chmod(0o755)


def test_the_report_becomes_an_outcome(fake: Path) -> None:
    become(fake, EXITED)
    assert run(["true"], jail=BOX) == Outcome("exited", 3, enforced=(("pids", "rlimit"),))


def test_the_jailer_reads_the_plan_and_the_payload_has_the_streams(fake: Path, tmp_path: Path) -> None:
    become(fake, "os.write(1, os.read(0, 99) + os.fsencode(repr(words)))\nos.write(2, b'err')\n" + EXITED)
    source, out, err = tmp_path / "in", tmp_path / "out", tmp_path / "err"
    source.write_text("input\n")
    with source.open() as stdin, out.open("w") as stdout, err.open("w") as stderr:
        run(["echo", b"\xff", "a b"], jail=BOX, stdin=stdin, stdout=stdout, stderr=stderr)
    first, _, text = out.read_bytes().partition(b"\n")
    assert first == b"input"
    assert text == b"['echo', '\\udcff', 'a b']"
    assert err.read_text() == "err"


def test_passed_descriptors_keep_their_numbers(fake: Path, tmp_path: Path) -> None:
    become(fake, f"os.write({900}, b'here')\n" + EXITED)
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.dup2(file, 900)
    try:
        run(["x"], jail=Jail(seccomp="off", pass_fds=(900,)))
    finally:
        os.close(file)
        os.close(900)
    assert (tmp_path / "file").read_text() == "here"


def test_a_failed_setup_is_an_error_with_all_that_is_known(fake: Path) -> None:
    become(fake, FAILED)
    with pytest.raises(LaunchError) as caught:
        run(["x"], jail=BOX)
    error = caught.value
    assert str(error) == "cannot open /nope; make it"
    assert (error.step, error.errno, error.hint, error.object, error.line) == (
        "source",
        2,
        "make it",
        "/nope",
        14,
    )
    assert isinstance(error, OSError)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("sys.exit(125)\n", "ended and reported nothing"),
        ("os.kill(os.getpid(), 9)\n", "ended and reported nothing"),
        ("os.write(report, b'{')\n", "reported what is no outcome"),
    ],
)
def test_a_jailer_without_a_report_is_an_error(fake: Path, program: str, words: str) -> None:
    become(fake, program)
    with pytest.raises(LaunchError, match=words):
        run(["x"], jail=BOX)


def test_a_missing_jailer_says_what_to_do(fake: Path) -> None:
    with pytest.raises(UnsupportedError, match="run scripts/setup in a checkout, or reinstall pyjail-linux"):
        run(["x"], jail=BOX)
    assert not fake.exists()


def test_a_jailer_of_another_machine_is_an_error(fake: Path) -> None:
    fake.write_bytes(b"\x7fELF nonsense")
    fake.chmod(0o755)
    with pytest.raises(LaunchError, match="cannot start the jailer"):
        run(["x"], jail=BOX)


@pytest.mark.parametrize("argv", [[], [""], [b""], "true", b"true", ()])
def test_there_must_be_a_command(argv: list[str]) -> None:
    with pytest.raises(SpecError, match="argv: "):
        run(argv, jail=BOX)


def test_a_closed_descriptor_cannot_be_passed() -> None:
    with pytest.raises(SpecError, match="descriptor 901: "):
        run(["x"], jail=Jail(seccomp="off", pass_fds=(901,)))


@pytest.mark.parametrize("program", ["", "os._exit(0)\n"])
def test_a_serving_jailer_that_ends_at_once_is_an_error(fake: Path, program: str) -> None:
    fake.write_text(f"#!{sys.executable} -IS\nimport os\n{program}")
    fake.chmod(0o755)
    with pytest.raises(LaunchError, match="ended before it had told that the jail runs"):
        run(["x"], jail=BOX)


def test_a_serving_jailer_that_cannot_begin_is_an_error(fake: Path) -> None:
    fake.write_text("#!/bin/sh\nexit 125\n")
    fake.chmod(0o755)
    with pytest.raises(LaunchError, match="the jailer ended with status 125 at once"):
        run(["x"], jail=BOX)


def test_an_unknown_profile_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="seccomp: "):
        run(["x"], jail=Jail(seccomp="no-such-profile"))


@pytest.mark.parametrize("program", [EXITED, FAILED, "sys.exit(1)\n", None])
def test_no_descriptor_is_left_open(fake: Path, program: str | None) -> None:
    if program is not None:
        become(fake, program)
    before = set(os.listdir("/proc/self/fd"))
    try:
        run(["x"], jail=BOX)
    except (LaunchError, UnsupportedError):
        pass
    spawn.launcher.close()
    assert set(os.listdir("/proc/self/fd")) == before


def exec_jailer(fake: Path, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """Become the (fake) jailer in a process of its own."""
    program = (
        f"import os, sys\nsys.path.insert(0, {str(PROJECT)!r})\nfrom jail import launch\n"
        "from jail.plan import Plan\nfrom jail.directives import Argv\n"
        f"launch.JAILER = {str(fake)!r}\n{prelude}\n"
        "launch.exec_jailer(Plan((Argv('first'),)), ['a b', b'\\xff'])\n"
    )
    return subprocess.run([sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=False)


def test_the_process_becomes_the_jailer(fake: Path) -> None:
    become(fake, "print(os.getpid() == int(os.environ['SELF']), number, ascii(sys.argv[3:]), ascii(text))\n")
    ended = exec_jailer(fake, "os.environ['SELF'] = str(os.getpid())")
    assert ended.stdout == "True 3 ['a b', '\\udcff'] 'jailer 1\\nargv first\\nend\\n'\n"


def test_the_plan_never_takes_the_place_of_a_closed_standard_stream(fake: Path) -> None:
    become(fake, "os.write(1, repr((number, sorted(map(int, os.listdir('/proc/self/fd')))[:3])).encode())\n")
    ended = exec_jailer(fake, "os.close(0); os.close(2)")
    assert int(ended.stdout[1:].partition(",")[0]) > 2, ended


def test_a_jailer_that_cannot_be_executed_is_an_error(fake: Path) -> None:
    fake.write_bytes(b"\x7fELF nonsense")
    fake.chmod(0o755)
    assert "LaunchError: cannot start the jailer" in exec_jailer(fake).stderr


def test_the_real_jailer(require: object, tmp_path: Path) -> None:
    if not os.access(launch.JAILER, os.X_OK):
        pytest.skip("the jailer is not built")
    require("userns")  # type: ignore[operator]
    with (tmp_path / "out").open("w+") as out:
        outcome = run(["/bin/sh", "-c", "echo $0; exit 3", "hello"], stdout=out)
        out.seek(0)
        assert (out.read(), outcome.status, outcome.returncode) == ("hello\n", "exited", 3)
    assert run(["/no/such/program"], stderr=subprocess.DEVNULL).returncode == 127
    with pytest.raises(LaunchError, match="/no/such/source") as caught:
        run(["true"], jail=Jail(mounts=(Bind("/no/such/source", "/x"),)), stderr=subprocess.DEVNULL)
    assert caught.value.step == "source"
