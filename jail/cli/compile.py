"""`pyjail compile`: an executable file that is a jailed command, a plan with a `#!` line that names the
jailer."""

from __future__ import annotations

import os

from jail.cli.parse import Parsed
from jail.cli.run import check_command, plan_of
from jail.cli.writing import write_whole
from jail.launch import jailer_path
from jail.settings import UsageError
from jail.sources import Sources, lasting

MAX_LINE = 255  # the kernel reads 256 bytes of a #! line (BINPRM_BUF_SIZE)
MODE = 0o755


def compile_jail(parsed: Parsed) -> int:
    """Write the file; the exit status."""
    output = parsed.last("output")
    if output is None or not output.text:
        raise UsageError("no file to write given; usage: "
                         "pyjail compile -o FILE [options] [--] COMMAND [ARG...]")
    check_command("compile -o FILE", parsed.words)
    first = interpreter_line(os.fsencode(jailer_path()))
    plan = lasting(plan_of(parsed, parsed.words, Sources()))
    write_whole(output.text, first + plan.to_bytes(), MODE)
    return 0


def interpreter_line(jailer: bytes) -> bytes:
    """The `#!` line. The kernel parts it at white space, without any quoting, and cuts it at a fixed
    length."""
    line = b"#!" + jailer + b" run\n"
    where = os.fsdecode(jailer)
    if jailer.split() != [jailer]:
        raise UsageError(f"the jailer's path {where!r} holds white space, which a #! line cannot; "
                         "install pyjail in a folder without")
    if len(line) > MAX_LINE:
        most = MAX_LINE - len(line) + len(jailer)
        raise UsageError(f"the jailer's path is {len(jailer)} bytes long and a #! line holds {most}; "
                         f"install pyjail in a folder with a shorter path: {where}")
    return line
