"""What `start` and `run` refuse, what is kept of an output, how an exchange ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import jail
from jail import DEVNULL, PIPE, STDOUT, Jail, SpecError, Workdir
from jail.capture import Capture, Feed, exchange
from jail.remote import printable, result_of
from jail.started import decoded, text_form
from jail.streams import Ends


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input": b"x", "stdin": DEVNULL}, "stdin and input exclude one another"),
        ({"capture_output": True, "stdout": PIPE}, "exclude capture_output"),
        ({"input": "x"}, "input: expected bytes .or say text=True., got str"),
        ({"input": b"x", "text": True}, "input: expected text, got bytes"),
        ({"stdin": "file"}, "stdin: expected None, PIPE"),
        ({"stdout": STDOUT}, "stdout: expected None, PIPE"),
        ({"stderr": -7}, "stderr: expected None, PIPE"),
        ({"stdout": True}, "stdout: expected None, PIPE"),
        ({"stdin": 999}, "descriptor 999: Bad file descriptor"),
        ({"capture_output": True, "max_output": -1}, "max_output: expected a number of bytes"),
        ({"jail": {}}, "jail: expected a Jail"),
        ({"jail": Jail(pass_fds=(999,))}, "pass_fds: descriptor 999"),
        ({"descriptors": {2: 1}}, "descriptors: expected a number from 3 on in the jail, got 2"),
        ({"descriptors": {3: 999}}, "descriptors: descriptor 999: Bad file descriptor"),
        ({"descriptors": {3: "x"}}, "descriptors: expected a descriptor or an open file, got 'x'"),
    ],
)
def test_what_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):  # the first start of all opens what stays open
        jail.run(["true"], **options)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SpecError, match=words):
        jail.run(["true"], **options)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("argv", ["true", b"true", [], [""], ["a\0b"], [b"a\0b"], [1], [None]])
def test_words_that_are_none(argv: Any) -> None:
    with pytest.raises(SpecError, match="argv: "):
        jail.start(argv)


def test_only_start_makes_processes() -> None:
    with pytest.raises(TypeError, match=r"made by jail\.start"):
        jail.Process()


def test_pipes_of_a_start_that_failed_are_closed() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SpecError):
        Ends(PIPE, PIPE, 999)
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture
def ends() -> Any:
    pipes = [os.pipe() for _ in range(2)]
    yield pipes
    for end in {end for pipe in pipes for end in pipe}:
        try:
            os.close(end)
        except OSError:
            pass


@pytest.mark.parametrize(
    ("written", "most", "kept", "exceeded"),
    [(b"", 0, b"", False), (b"abc", 3, b"abc", False), (b"abc", 2, b"ab", True), (b"a", 0, b"", True)],
)
def test_what_is_kept(ends: Any, written: bytes, most: int, kept: bytes, exceeded: bool) -> None:
    reader, writer = ends[0]
    capture = Capture(reader, most)
    os.write(writer, written)
    os.close(writer)
    capture.drain()
    assert (bytes(capture.data), capture.exceeded, capture.done) == (kept, exceeded, True)


def test_the_end_of_the_jail_ends_the_exchange_though_a_pipe_is_open(ends: Any) -> None:
    (out, writer), (ended, jail_end) = ends
    capture = Capture(out, 100)
    os.write(writer, b"left")
    os.close(jail_end)
    assert exchange((ended,), None, [capture], None, lambda: None)
    assert capture.data == b"left"


def test_a_deadline_ends_it_too(ends: Any) -> None:
    (out, _), (ended, _) = ends
    capture = Capture(out, 100)
    assert not exchange((ended,), None, [capture], 0.0, lambda: None)
    assert not capture.done


def test_too_much_kills(ends: Any) -> None:
    (out, writer), (ended, jail_end) = ends
    os.write(writer, b"12345")
    kill: Callable[[], None] = lambda: os.close(jail_end)  # noqa: E731
    assert exchange((ended,), None, [Capture(out, 4)], None, kill)


def test_nobody_who_reads_is_no_error(ends: Any) -> None:
    reader, writer = ends[0]
    os.close(reader)
    with open(writer, "wb") as file:
        feed = Feed(file, b"x" * 1_000_000)
        assert feed.give() is False
        assert file.closed


def test_text() -> None:
    assert text_form(False, None, None) is None
    assert decoded(b"\xff\r\na\r", text_form(True, None, None)) == "�\na\n"
    with pytest.raises(UnicodeDecodeError):
        decoded(b"\xff", text_form(True, None, "strict"))
    assert decoded(b"\xfc", text_form(False, "latin-1", None)) == "ü"


def test_results_are_json_and_nothing_else() -> None:
    assert result_of(b'{"result": [1, null]}') == [1, None]
    for text in (b"", b"[", b"{}", b'{"result": 1, "x": 2}', b"[" * 200_000, b'{"error": "text"}', b"\xff"):
        with pytest.raises(jail.RemoteError, match="no result"):
            result_of(text)
    with pytest.raises(jail.RemoteError, match="KeyError: x") as caught:
        result_of(b'{"error": ["KeyError", "x", "trace\\u001b]0;title\\u0007"]}')
    assert caught.value.traceback == "trace\\x1b]0;title\\x07"
    assert printable("a\tb\nü\u202e\r") == "a\tb\nü\\x202e\\x0d"


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "x/" * 40 + "x", "a\0b"]
)
def test_names_in_a_workdir(name: str) -> None:
    with Workdir() as work:
        for act in (lambda: work.read(name), lambda: work.write(name, b"")):
            with pytest.raises(jail.CopyError):
                act()
        assert os.listdir(work) == []


def test_a_workdir_refuses_to_overwrite_and_keeps_what_was_there(tmp_path: Any) -> None:
    (tmp_path / "there").write_text("old")
    (tmp_path / "folder").mkdir()
    with Workdir(tmp_path) as work:
        work.write("a/b", "new")
        for target in ("there", "folder"):
            for name in ("a", "a/b"):
                with pytest.raises(jail.CopyError, match="is there already"):
                    work.copy_out(name, tmp_path / target)
        with pytest.raises(jail.CopyError, match="File exists"):
            work.write("a/b", "newer")
        with pytest.raises(jail.CopyError, match="is there already"):
            work.copy_in(tmp_path / "there", "a")
        assert work.read("a/b") == b"new"
    assert (tmp_path / "there").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["folder", "there"]
