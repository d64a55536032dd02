"""The gateway's log: whoever reads it slowly holds nobody up, and learns what he has missed."""

from __future__ import annotations

import io
import os
import threading

import pytest

pytest.importorskip("uvicorn", reason="pyjail-linux[serve] is not installed")

from jail.gateway.log import WAITING, Log


def test_lines_leave_in_order() -> None:
    out = io.BytesIO()
    log = Log("text", out)
    for number in range(3):
        log.write("request", id=number, left_out=None)
    log.close()
    assert out.getvalue() == b"pyjail: request id=0\npyjail: request id=1\npyjail: request id=2\n"


class Slow(io.BytesIO):
    """Takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.taking = threading.Event(), threading.Event()

    def write(self, data: object) -> int:
        self.entered.set()
        self.taking.wait()
        return super().write(data)  # type: ignore[arg-type]


def test_what_nobody_takes_is_lost_and_told() -> None:
    out = Slow()
    log = Log("text", out)
    log.write("first")
    out.entered.wait()
    for number in range(WAITING + 5):
        log.write("request", id=number)
    out.taking.set()
    while log._waiting.qsize():
        os.sched_yield()
    log.write("after")
    log.close()
    lines = out.getvalue().decode().splitlines()
    assert lines[: WAITING + 1] == ["pyjail: first", *(f"pyjail: request id={n}" for n in range(WAITING))]
    assert lines[WAITING + 1 :] == [
        'pyjail: warning message="5 lines of this log were lost, because nobody took them"',
        "pyjail: after",
    ]


def test_a_pipe_that_does_not_block_gets_whole_lines() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(writer, "wb", buffering=0) as out, open(reader, "rb") as read:
        log = Log("text", out)
        log.write("long", value="x" * 300_000)
        assert read.readline() == b"pyjail: long value=" + b"x" * 300_000 + b"\n"
        log.close()


def test_a_stream_that_is_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as out:
        log = Log("text", out)
        log.write("first")
        log.write("second")
        log.close()
        assert not log._thread.is_alive()
