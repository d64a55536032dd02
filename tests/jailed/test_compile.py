"""`pyjail compile`: a plan that is a program of its own, started without Python."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess

import pytest

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")


@pytest.fixture
def compiled(pyjail, place):
    """Compiles words to a file and gives its path; `start` runs such a file as the test's user."""

    def compile_(*words: str, name: str = "made.jail"):
        r = pyjail.run("compile", "-o", place / name, *words)
        assert (r.returncode, r.stdout, r.stderr) == (0, b"", b"")
        return place / name

    return compile_


def test_it_runs(pyjail, compiled):
    made = compiled("--", "/bin/echo", "hello")
    assert pyjail.run(program=made).stdout == b"hello\n"


def test_it_is_text_that_names_the_jailer(compiled, pyjail):
    lines = compiled("--", "/bin/echo", "hello").read_text().splitlines()
    assert lines[0] == f"#!{pyjail.installation.jailer} run"
    assert lines[1] == "jailer 1"
    assert "argv /bin/echo" in lines


def test_it_is_what_plan_prints(pyjail, compiled):
    words = ("--memory", "64M", "--allow-weaker", "memory", "--env", "A=x y", "--", "/bin/true")
    assert compiled(*words).read_bytes().partition(b"\n")[2] == pyjail.run("plan", *words).stdout


def test_words_are_appended(pyjail, compiled):
    made = compiled("--", *PYTHON, "import sys; print(sys.argv[1:])", "first")
    for words in ((), ("a b", "", "--", "-x"), ("--memory", "10X")):
        assert pyjail.run(*words, program=made).stdout.decode() == f"{['first', *words]}\n"


def test_words_that_are_no_text(pyjail, compiled):
    made = compiled("--", *PYTHON, "import os, sys; os.write(1, os.fsencode(sys.argv[1]))")
    assert pyjail.run(b"\xff\n\\040", program=made).stdout == b"\xff\n\\040"


def test_stdin_and_stdout(pyjail, compiled):
    made = compiled("--", "/bin/cat")
    data = os.urandom(1 << 20)
    assert pyjail.run(program=made, input=data).stdout == data


def test_stdin_is_a_regular_file(pyjail, compiled, place):
    made = compiled("--", *SH, "read a; echo $a")
    (place / "in").write_text("one\ntwo\n")
    with open(place / "in", "rb", buffering=0) as source:
        assert pyjail.run(program=made, stdin=source).stdout == b"one\n"
        assert source.read() == b"two\n"


def test_stdin_is_a_socket(pyjail, compiled):
    made = compiled("--", "/bin/cat")
    ours, theirs = socket.socketpair()
    with ours, theirs, pyjail.popen(program=made, stdin=theirs, stdout=theirs):
        theirs.close()
        ours.sendall(b"hello")
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(99) == b"hello"


def test_status(pyjail, compiled):
    made = compiled("--", *SH)
    assert [pyjail.run(f"exit {code}", program=made).returncode for code in (0, 1, 124, 255)] == [
        0,
        1,
        124,
        255,
    ]
    assert pyjail.run("kill -9 $$", program=made).returncode == 137
    assert pyjail.run(program=compiled("--", "/no/such", name="absent.jail")).returncode == 127
    assert (
        pyjail.run(
            program=compiled("--timeout", "0.2", "--", "/bin/sleep", "100", name="slow.jail")
        ).returncode
        == 124
    )


def test_outcome_file(pyjail, compiled, place):
    made = compiled("--outcome", str(place / "outcome"), "--", *SH, "exit 3")
    assert pyjail.run(program=made).returncode == 3
    assert json.loads((place / "outcome").read_text())["exit_code"] == 3


def test_through_path(pyjail, compiled, place):
    compiled("--", "/bin/echo", "found", name="greet")
    r = pyjail.run("greet", program="/usr/bin/env", env={"PATH": f"{place}:/usr/bin:/bin"})
    assert r.stdout == b"found\n"


def test_through_a_shell(pyjail, compiled):
    made = compiled("--", "/bin/cat")
    r = pyjail.run("-c", f"echo from a shell | {made} | {made}", program="/bin/sh")
    assert (r.returncode, r.stdout) == (0, b"from a shell\n")


def test_as_the_interpreter_of_a_script(pyjail, compiled, place):
    """A `#!` line may name a program that is a `#!` file itself: the script's path comes as a word."""
    made = compiled("--ro-bind", f"{place}:{place}", "--", "/bin/cat")
    script = place / "script"
    script.write_text(f"#!{made}\ncontent\n")
    script.chmod(0o755)
    assert pyjail.run(program=script).stdout == f"#!{made}\ncontent\n".encode()


@pytest.mark.parametrize("environment", [{}, {"PATH": ""}, {"LD_PRELOAD": "/no/such.so", "IFS": "x"}])
def test_in_an_empty_environment(pyjail, compiled, environment):
    made = compiled("--", "env")
    r = pyjail.run("-i", *(f"{n}={v}" for n, v in environment.items()), made, program="/usr/bin/env")
    assert r.returncode == 0, r.stderr
    assert sorted(r.stdout.splitlines()) == [
        b"HOME=/tmp",
        b"LANG=C.UTF-8",
        b"PATH=/usr/local/bin:/usr/bin:/bin",
    ]


def test_it_needs_no_python(pyjail, compiled):
    """The interpreter of the installation is moved out of the way while it runs."""
    made = compiled("--", "/bin/echo", "alone")
    python = pyjail.installation.python
    python.rename(python.with_name("away"))
    try:
        assert pyjail.run(program=made).stdout == b"alone\n"
    finally:
        python.with_name("away").rename(python)


def test_moved_copied_and_linked(pyjail, compiled, place):
    made = compiled("--", "/bin/echo", "still")
    (place / "sub").mkdir()
    moved = made.rename(place / "sub" / "with space.jail")
    copied = shutil.copy(moved, place / "copied")
    (place / "link").symlink_to(moved)
    for path in (moved, copied, place / "link"):
        assert pyjail.run(program=path, cwd="/").stdout == b"still\n"


def test_relative_paths_are_of_the_folder_where_it_was_compiled(pyjail, place):
    (place / "data").mkdir()
    (place / "data" / "f").write_text("mine\n")
    r = pyjail.run(
        "compile", "-o", "made.jail", "--ro-bind", "data:/data", "--", "/bin/cat", "/data/f", cwd=place
    )
    assert r.returncode == 0, r.stderr
    assert pyjail.run(program=place / "made.jail", cwd="/").stdout == b"mine\n"


def test_without_the_executable_bit(pyjail, compiled):
    made = compiled("--", "/bin/echo", "hello")
    made.chmod(0o644)
    r = pyjail.run("-c", f"{made}", program="/bin/sh")
    assert r.returncode == 126
    words = (pyjail.installation.jailer, "run", made)
    assert pyjail.run(*words, program="/usr/bin/env").stdout == b"hello\n"


def test_another_user_runs_it(pyjail, compiled, root_pyjail, ordinary_pyjail):
    """Compiled by one, run by the other: it runs, or what only root can have is refused in words."""
    made = compiled("--", "/bin/echo", "hello")
    for launcher in (root_pyjail, ordinary_pyjail):
        r = launcher.run(program=made)
        assert (r.returncode, r.stdout) == (0, b"hello\n") or (r.returncode == 125 and r.stderr), r.stderr
        if launcher.user == pyjail.user:
            assert r.returncode == 0


def test_it_is_replaced_whole(pyjail, compiled, place):
    """Compiled over itself while it runs: the run is not disturbed, nothing else is left in the folder."""
    made = compiled("--", "/bin/cat", name="only.jail")
    with pyjail.popen(program=made, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"a")
        process.stdin.flush()
        assert process.stdout.read(1) == b"a"
        compiled("--", "/bin/echo", "new", name="only.jail")
        assert process.communicate(b"b")[0] == b"b"
    assert pyjail.run(program=made).stdout == b"new\n"
    assert os.listdir(place) == ["only.jail"]


def test_a_later_change_of_a_bind_source(pyjail, compiled, place):
    (place / "f").write_text("one\n")
    made = compiled("--ro-bind", f"{place}/f:/f", "--", "/bin/cat", "/f")
    (place / "f").unlink()
    (place / "f").write_text("two\n")
    assert pyjail.run(program=made).stdout == b"two\n"
    (place / "f").unlink()
    r = pyjail.run(program=made)
    assert (r.returncode, r.stdout) == (125, b"")
    assert str(place / "f").encode() in r.stderr


@pytest.mark.parametrize(
    "line",
    [
        b"frobnicate x\n",
        b"timeout\n",
        b"timeout x\n",
        b"hostname a b\n",
        b"rlimit nofile 1\n",
        b"env A\\999\n",
    ],
)
def test_an_edited_plan_that_makes_no_sense(pyjail, compiled, line):
    """Refused with the number of the line, before anything is done."""
    made = compiled("--", "/bin/echo", "ran")
    text = made.read_bytes()
    made.write_bytes(text.replace(b"\nend\n", b"\n" + line + b"end\n"))
    number = len(text.splitlines())
    r = pyjail.run(program=made)
    assert (r.returncode, r.stdout) == (125, b"")
    assert str(number).encode() in r.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("compile", "--", "/bin/true"),
        ("compile", "-o", "", "--", "/bin/true"),
        ("compile", "-o", "x", "--"),
        ("compile", "-o", "/no/such/folder/x", "--", "/bin/true"),
        ("compile", "-o", "/", "--", "/bin/true"),
    ],
)
def test_it_cannot_be_written(pyjail, words):
    r = pyjail.run(*words)
    assert r.returncode not in (0, 126, 127)
    assert b"Traceback" not in r.stderr and r.stderr


def test_root_does_not_run_as_itself_in_a_jail_of_another(pyjail, ordinary_pyjail, root_pyjail, place):
    """Made for its maker's ids, which of root's are those of the host."""
    path = place / "own.jail"
    r = pyjail.run("compile", "-o", path, "--", "/usr/bin/id", "-u")
    assert r.returncode == 0, r.stderr
    if pyjail.user.is_root:
        assert pyjail.run(program=path).stdout == b"1000\n"
        return
    r = root_pyjail.run(program=path)
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"cannot let the jail have its caller's ids, who is root" in r.stderr
    # Root of a user namespace is nobody's root.
    r = ordinary_pyjail.run("--map-root-user", path, program="/usr/bin/unshare")
    assert (r.returncode, r.stdout) == (0, b"1000\n"), r.stderr
