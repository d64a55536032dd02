"""`pyjail learn`: run a command in the jail with every system call recorded, and write the policy that allows
what it did."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
from typing import TYPE_CHECKING

import prctl

from jail.build import build_plan
from jail.cli.parse import Parsed
from jail.cli.run import check_command, settings_of
from jail.cli.seccomp import policy_of
from jail.cli.writing import note, write_whole
from jail.errors import JailError, LaunchError
from jail.host import Host
from jail.launch import exec_jailer, load_program
from jail.outcome import Outcome
from jail.settings import UsageError
from jail.sources import Sources
from jail.tojail import make_jail, make_outcome
from seccomp import PolicyError, learned
from seccomp.learn import Learned, learn, seen_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from jail.spec import Jail

JAIL_FAILED = 125
FORWARDED = (signal.SIGTERM, signal.SIGHUP)
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # the jailer gets these itself
MAX_COMMAND = 200


def learn_policy(parsed: Parsed, observe: Callable[[Jail, Sequence[str]], tuple[Outcome, bytes]] | None = None
                 ) -> int:
    """Run the command and write the policy; the command's exit status. `observe`: what runs it."""
    output = parsed.last("output")
    if output is None or not output.text.endswith(".toml"):
        raise UsageError("name the policy file to write, which must end in .toml; usage: "
                         "pyjail learn -o FILE.toml [options] [--] COMMAND [ARG...]")
    check_command("learn -o FILE.toml", parsed.words)
    settings = settings_of(parsed, Sources())
    jail = make_jail(settings)
    if jail.seccomp == "off":
        raise UsageError("--seccomp off: what is learned lies within a policy; name one, such as default")
    base = policy_of(jail.seccomp)
    if jail.strict:
        base = base.strict()
    earlier = [merged(each.text) for each in parsed.settings if each.option.name == "merge"]
    if os.path.lexists(output.text):
        earlier.insert(0, known(output.text))
    check_writable(output.text)
    outcome, record = (observe or watch)(jail, parsed.words)
    report(make_outcome(settings), record)
    if outcome.error is not None:
        return outcome.returncode  # the jailer has said why
    told = json.loads(record)
    result = learn(base, seen_in(told["calls"]), shown(parsed.words), earlier)
    write_whole(output.text, learned.write(result, jail.seccomp).encode())
    for line in summary(output.text, result, earlier, told["calls_lost"]):
        note(line)
    return outcome.returncode


def check_writable(path: str) -> None:
    """A file that cannot be written in the end is known before the command runs."""
    folder = os.path.dirname(path) or "."
    if not os.access(folder, os.W_OK | os.X_OK):
        why = "there is no such folder" if not os.path.isdir(folder) else "its folder cannot be written to"
        raise UsageError(f"cannot write {path}: {why}")


def known(path: str) -> Learned:
    """What an earlier run learned into the file that is to be written. A policy of another making is not
    touched."""
    found = merged(path)
    if not found.runs:
        raise UsageError(f"{path} is there and was not written by pyjail learn; "
                         f"write another file, and start from this one with --merge {path}")
    return found


def merged(path: str) -> Learned:
    """A policy file to start from."""
    try:
        with open(path, encoding="utf-8") as file:
            return learned.read(file.read(), path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except PolicyError as error:
        raise UsageError(str(error)) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8, which TOML must be") from None


def watch(jail: Jail, words: Sequence[str]) -> tuple[Outcome, bytes]:
    """Run the command with every call recorded; the outcome, and the line that told it."""
    jail = dataclasses.replace(jail, audit="all")
    reader, writer = os.pipe()
    plan = build_plan(jail, (), Host.probe(jail), outcome=writer, program=load_program(jail))
    for number in FROM_TERMINAL:
        signal.signal(number, lambda *_: None)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.set_inheritable(writer, True)
            end_with(parent)
            exec_jailer(plan, words)
        except JailError as error:
            note(str(error))
        finally:
            os._exit(JAIL_FAILED)

    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    os.close(writer)
    with open(reader, "rb") as file:
        record = file.read()
    os.waitpid(child, 0)
    if not record:
        raise LaunchError("the jailer ended without an outcome: nothing was learned", "jailer")
    return Outcome.from_json(record), record


def end_with(parent: int) -> None:
    """Have the kernel kill this process, and the jailer that it becomes, when its parent has ended."""
    prctl.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(JAIL_FAILED)


def report(target: int | str | None, record: bytes) -> None:
    """Pass the outcome on to where --outcome or --outcome-fd wants it."""
    if isinstance(target, int):
        with open(target, "wb", closefd=False) as file:
            file.write(record)
    elif target is not None:
        write_whole(target, record)


def shown(words: Sequence[str]) -> str:
    """The command in one line of plain text."""
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shlex.join(words))
    return text if len(text) <= MAX_COMMAND else text[:MAX_COMMAND] + "…"


def summary(path: str, result: Learned, earlier: Sequence[Learned], lost: int) -> list[str]:
    """What was learned, in a line or two."""
    before: set[str] = {call for old in earlier for call in allowed(old)}
    now = allowed(result)
    new = f", {len(now - before)} of them new" if earlier else ""
    lines = [f"{path} allows {len(now)} system calls{new}; "
             f"run with it: pyjail run --seccomp {runnable(path)}"]
    if lost:
        lines.append(f"{lost} calls could not be recorded, and may be missing: learn again")
    return lines


def runnable(path: str) -> str:
    """The path as --seccomp takes it for a file."""
    return shlex.quote(path if "/" in path else f"./{path}")


def allowed(result: Learned) -> set[str]:
    """The calls that a policy allows, with some arguments at least."""
    return {call for rule in result.policy.rules for call in rule.calls if rule.action in ("allow", "log")}
