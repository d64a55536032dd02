"""The native `pyjail`: what it hands to Python where it has no plan, and what it hands over a plan for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from support.installation import build_module, make_program

from jail.plan import escape

VERSION = build_module().version()
TELL = "#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done\n"
CODE = "from jail.cli import front; front()"


class Front:
    """A compiled front beside a `pyjail-python` of our own making, whose interpreter tells its arguments."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder, self.program, self.script = folder, folder / "pyjail", folder / "pyjail-python"
        self.interpreter = folder / "interpreter"
        os.link(program, self.program)
        self.interpreter.write_text(TELL)
        self.interpreter.chmod(0o755)
        self.script.write_text(f"#!{self.interpreter}\n")
        self.script.chmod(0o755)

    def run(
        self, *words: str | bytes, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.program, *words],
            env=env or {},
            cwd=cwd or self.folder,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def told(self, *words: str | bytes, cwd: Path | None = None) -> list[bytes]:
        ended = self.run(*words, cwd=cwd)
        assert (ended.returncode, ended.stderr) == (0, b"")
        return ended.stdout.split(b"\0")[:-1]

    def key(self, *words: str | bytes, cwd: Path | None = None) -> tuple[bytes, bytes]:
        """Name and text of the key that Python is given; the rest is checked to be the command line."""
        isolated, c, code, name, text, *rest = self.told(*words, cwd=cwd)
        assert (isolated, c, code.decode()) == (b"-I", b"-c", CODE)
        assert rest == [os.fsencode(word) for word in words]
        return name, text


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("front") / "pyjail"
    make_program(built, front=True)
    return built


@pytest.fixture
def front(program: Path, tmp_path: Path) -> Front:
    return Front(tmp_path, program)


def fields(text: bytes) -> list[bytes]:
    """The key as Python's plan text would hold it: one escaped field of escaped fields."""
    assert b" " not in text
    plain = text.replace(b"\\040", b" ").replace(b"\\134", b"\\")
    assert escape(plain) == text
    return plain.split(b" ")


def test_version_needs_no_python(front: Front) -> None:
    front.script.unlink()
    ended = front.run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"pyjail {VERSION}\n".encode(), b"")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("plan", "--", "true"),
        ("run",),
        ("run", "true"),
        ("run", "--memory", "1M", "true"),
        ("--help",),
        ("--version", "x"),
        ("Run", "--", "true"),
    ],
)
def test_other_commands_have_no_key(front: Front, words: Sequence[str]) -> None:
    assert front.key(*words) == (b"-", b"-")


def test_a_run_has_a_key_of_its_options(front: Front) -> None:
    name, text = front.key("run", "--memory", "64M", "--", "node", "--", "x y")
    assert len(name) == 16 and not name.strip(b"0123456789abcdef")
    assert fields(text)[0] == VERSION.encode()
    assert fields(text)[-3:] == [b"run", b"--memory", b"64M"]


def test_the_key_holds_who_and_where(front: Front, tmp_path: Path) -> None:
    known = fields(front.key("run", "--", "true")[1])
    kernel = os.uname()
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    for fact in (
        kernel.release.encode(),
        escape(kernel.version.encode()),
        escape(boot),
        escape(os.fsencode(tmp_path)),
        b"%d" % os.geteuid(),
        escape(Path("/proc/self/cgroup").read_bytes()),
        b"%d" % os.stat("/").st_ino,
    ):
        assert fact in known


def test_the_same_words_give_the_same_key(front: Front) -> None:
    assert front.key("run", "--strict", "--", "true") == front.key("run", "--strict", "--", "false", "x")


@pytest.mark.parametrize(
    "other",
    [
        ("run", "--strict", "a b"),
        ("run", "--strict", "a", "b"),
        ("run", "--stricta", "b"),
        ("run", "--strict", "a\\040b"),
        ("run", "--strict", "", "a"),
        ("run", "--strict", b"\xff"),
    ],
)
def test_other_words_give_another_key(front: Front, other: Sequence[str | bytes]) -> None:
    assert front.key(*other, "--", "true") != front.key("run", "--strict", "--", "true")
    texts = {
        front.key(*words, "--", "true")[1]
        for words in (other, ("run", "--strict", "a", "b", ""), ("run", "--strict", "a  b"))
    }
    assert len(texts) == 3


def test_another_folder_gives_another_key(front: Front, tmp_path: Path) -> None:
    odd = tmp_path / "a b\n\\c"
    odd.mkdir()
    assert front.key("run", "--", "true", cwd=odd) != front.key("run", "--", "true")


def test_a_folder_that_is_gone_has_no_key(front: Front, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    ended = subprocess.run(
        ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", front.program, "run", "--", "true"],
        cwd=gone,
        env={},
        capture_output=True,
        check=True,
    )
    assert ended.stdout.split(b"\0")[3:5] == [b"-", b"-"]


def test_options_too_long_for_a_key(front: Front) -> None:
    assert front.key("run", "--env", "A=" + "x" * 70_000, "--", "true") == (b"-", b"-")
    name, text = front.key("run", "--env", "A=" + "x" * 50_000, "--", "true")
    assert name != b"-"
    assert len(text) > 50_000


def test_a_hundred_thousand_arguments(front: Front) -> None:
    name, _ = front.key("run", "--", "true", *["x"] * 100_000)
    assert name != b"-"


def test_words_that_are_not_utf_8(front: Front) -> None:
    _, text = front.key("run", b"--env=\xff\xc3=1", "--", b"\xfe")
    assert fields(text)[-1] == b"--env=\xff\xc3=1"


def test_the_environment_is_passed_on(front: Front) -> None:
    front.interpreter.write_text('#!/bin/sh\nprintf %s "$MARK"\n')
    assert front.run("help", env={"MARK": "here"}).stdout == b"here"


@pytest.mark.parametrize("first", ["#!/bin/sh", "#!/bin/sh -e", "#! /bin/sh"])
def test_a_script_that_only_the_kernel_can_start_gets_the_plain_words(front: Front, first: str) -> None:
    front.script.write_text(TELL.replace("#!/bin/sh", first))
    assert front.told("run", "--", "a b") == [b"run", b"--", b"a b"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "it was installed beside this program and is gone; reinstall pyjail-linux"),
        ("", "not in a format that the kernel can execute"),
        ("import this\n", "not in a format that the kernel can execute"),
        ("#!/no/such/python\n", "it is gone; reinstall pyjail-linux with the Python that you use now"),
    ],
)
def test_an_installation_that_is_damaged(front: Front, content: str | None, words: str) -> None:
    if content is None:
        front.script.unlink()
    else:
        front.script.write_text(content)
    ended = front.run("run", "--", "true")
    assert ended.returncode == 125
    assert ended.stdout == b""
    assert words in ended.stderr.decode()
    assert ended.stderr.startswith(b"pyjail: ") and ended.stderr.endswith(b"\n")


def test_it_finds_its_script_through_a_link(front: Front, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "pj"
    link.parent.mkdir()
    link.symlink_to(front.program)
    ended = subprocess.run([link, "help"], env={}, capture_output=True, check=True)
    assert ended.stdout.split(b"\0")[5:-1] == [b"help"]
