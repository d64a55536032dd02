"""Starts `pyjail` as one user, the way a shell would, and reads what came of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from jsonschema import Draft202012Validator

from support.features import PROJECT
from support.installation import SYSTEM_PYTHON, Installation
from support.users import User

_INSIDE = Path(__file__).with_name("inside.py").read_text()
# Until a hung run fails its test; no test asserts on it.
_PATIENCE = 120.0 * int(os.environ.get("PYJAIL_PATIENCE", "1"))  # seconds
SCHEMA = json.loads((PROJECT / "jail" / "outcome.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
File = int | IO[bytes] | None


def checked(line: str | bytes) -> dict[str, Any]:
    """The outcome on a line, which must be as jail/outcome.schema.json says, without a field of its own."""
    outcome: dict[str, Any] = json.loads(line)
    wrong = [error.message for error in VALIDATOR.iter_errors(outcome)]
    assert not wrong, f"{wrong}: {line!r}"
    assert not outcome.keys() - SCHEMA["properties"].keys()
    return outcome


class Running(subprocess.Popen[bytes]):
    """A process that a failing test does not wait for: an exception in the `with` block kills it."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, traceback)


@dataclass(frozen=True)
class Completed:
    """A finished run: what the caller saw, and the outcome line."""

    args: Sequence[str | bytes]
    returncode: int
    stdout: bytes
    stderr: bytes
    outcome: dict[str, Any] | None

    @property
    def answer(self) -> dict[str, Any]:
        """What the code inside gave to `answer(...)`."""
        lines = [line for line in self.stdout.splitlines() if line.startswith(b"{")]
        assert lines, f"no answer from inside: status {self.returncode}, stderr {self.stderr!r}"
        found: dict[str, Any] = json.loads(lines[-1])
        return found


@dataclass(frozen=True)
class Launcher:
    """`pyjail` of one installation, started as one user."""

    installation: Installation
    user: User

    def words(self, code: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """The `pyjail run` command line for Python code inside, with the helpers of support/inside.py."""
        return ["run", *options, "--", SYSTEM_PYTHON, "-I", "-c", _INSIDE + "\n" + code, *arguments]

    def popen(
        self,
        *words: str | bytes,
        program: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Running:
        """Start it and return at once. `env` is added to the user's own; `options` as in
        `subprocess.Popen`."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("cwd", self.user.home)
        return Running(
            [str(program or self.installation.pyjail), *words],
            **self.user.identity(),
            env={**self.user.environment(), **(env or {})},
            **options,
        )

    def run(
        self,
        *words: str | bytes,
        input: bytes | None = None,  # noqa: A002 - as in subprocess.run
        timeout: float = _PATIENCE,
        pass_fds: Sequence[int] = (),
        **options: Any,
    ) -> Completed:
        """Run to the end, stdout and stderr captured unless redirected, the outcome asked for by
        descriptor."""
        outcome = os.memfd_create("outcome", 0)
        try:
            ours = options.get("program") is None and words[:1] == ("run",)
            if ours and not any(str(word).startswith("--outcome") for word in words):
                words = ("run", "--outcome-fd", str(outcome), *words[1:])
            if input is not None:
                options["stdin"] = subprocess.PIPE
            options.setdefault("stdout", subprocess.PIPE)
            options.setdefault("stderr", subprocess.PIPE)
            with self.popen(*words, pass_fds=(outcome, *pass_fds), **options) as process:
                out, err = process.communicate(input, timeout)
            text = os.pread(outcome, 1 << 20, 0)
            found = checked(text) if text else None
            return Completed(words, process.returncode, out or b"", err or b"", found)
        finally:
            os.close(outcome)

    def python(self, code: str, *arguments: str, options: Sequence[str] = (), **popen: Any) -> Completed:
        """Run Python code in a jail; see `words`."""
        return self.run(*self.words(code, *arguments, options=options), **popen)
