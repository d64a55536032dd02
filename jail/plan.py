"""`Plan`: what one run does, as typed directives and as the jailer's text. See docs/plan.md."""

from __future__ import annotations

from jail import _fields as form
from jail._fields import RefusedError, encode, escape
from jail._record import record
from jail.directives import Audit, Cgroup, CgroupSet, Ids, Mount, Network, Pty, Scope, Seccomp
from jail.errors import SpecError
from jail.shapes import NODES, SHAPES, WORDS, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from jail.directives import Directive

    T = TypeVar("T")

__all__ = ["Plan", "escape"]

HEADER = b"jailer 1"
END = b"end"


@record(frozen=True)
class Plan:
    """The directives of one run, in the order in which they stand in the text."""

    directives: tuple[Directive, ...]

    def of(self, kind: type[T]) -> tuple[T, ...]:
        """All directives of a kind, in order."""
        return tuple(directive for directive in self.directives if isinstance(directive, kind))

    def to_bytes(self) -> bytes:
        """The text. Raises SpecError for a value that no field can hold."""
        lines = [HEADER]
        for directive in self.directives:
            shape = SHAPES[directive.__class__]
            lines.append(b" ".join([shape.word.encode(), *map(encode, shape.write(directive))]))
        lines += [END, b""]
        return b"\n".join(lines)

    @classmethod
    def from_bytes(cls, text: bytes) -> Plan:
        """The plan that the text holds, refused by the same rules as the jailer's. Raises SpecError with
        `.line`."""
        if b"\0" in text:
            raise SpecError(
                "a NUL byte: this is not a plan", "plan", text[: text.index(b"\0")].count(b"\n") + 1
            )
        lines = text.split(b"\n")
        if lines.pop():
            raise SpecError(
                "the last line does not end in a newline: the plan is cut off", "plan", len(lines) + 1
            )
        start = 1 if lines and lines[0].startswith(b"#!") else 0
        if lines[start : start + 1] != [HEADER]:
            raise SpecError(f"not a plan of this version: expected {HEADER.decode()!r}", "plan", start + 1)
        end = lines.index(END) if END in lines else len(lines)
        reader = _Reader()
        for number, line in enumerate(lines[start + 1 : end], start + 2):
            if line and not line.startswith(b"#"):
                try:
                    reader.take(number, form.split(line))
                except RefusedError as why:
                    raise SpecError(str(why), "plan", number) from None
        if end == len(lines):
            raise SpecError("no line 'end': the plan is cut off", "plan", end)
        if lines[end:] != [END]:
            raise SpecError("nothing may follow the line 'end'", "plan", end + 2)
        reader.finish()
        return cls(tuple(reader.directives))


class _Reader:
    """What counts across the lines of one text: what may stand only once, what must come first, what must be
    there."""

    def __init__(self) -> None:
        self.directives: list[Directive] = []
        self.seen: set[object] = set()
        self.lines: list[int] = []

    def take(self, number: int, fields: list[str]) -> None:
        word, *texts = fields
        if word not in WORDS:
            raise RefusedError(f"unknown directive {word!r}")
        kind, shape = WORDS[word]
        if not shape.least <= len(texts) <= shape.most:
            raise RefusedError(f"{word}: wrong number of fields")
        try:
            directive = shape.read(*texts)
            self.check_once(kind, shape, directive)
            if kind in NODES:
                self.check_node(directive)
        except RefusedError as why:
            raise RefusedError(f"{word}: {why}") from None
        if isinstance(directive, Scope) and Scope not in self.seen:
            form.ABSOLUTE.read(directive.word)  # the program
        self.seen.add(kind)
        self.directives.append(directive)
        self.lines.append(number)

    def check_once(self, kind: type, shape: Shape, directive: Directive) -> None:
        if shape.once:
            mark = (kind, shape.once(directive))
            if mark in self.seen:
                raise RefusedError("stands twice")
            self.seen.add(mark)

    def check_node(self, directive: Directive) -> None:
        """The first line that builds the root mounts it; every other target lies below."""
        if "root" in self.seen:
            if isinstance(directive, Mount):
                form.INSIDE.read(directive.target)
            return
        if not (
            isinstance(directive, Mount) and directive.target == "/" and directive.type in ("tmpfs", "bind")
        ):
            raise RefusedError("the first mount must be a tmpfs or bind with target /")
        self.seen.add("root")

    def finish(self) -> None:
        for kind, what in ((Ids, "ids line"), (Network, "network line"), (Mount, "mount line for the root")):
            if kind not in self.seen:
                raise SpecError(f"no {what}", "plan")
        devpts = any(isinstance(each, Mount) and each.type == "devpts" for each in self.directives)
        for asks, given, lack in (
            (Audit, Seccomp in self.seen, "audit: no seccomp line whose calls could be told"),
            (Pty, devpts, "pty: no mount line of a devpts to make it in"),
        ):
            for number, directive in zip(self.lines, self.directives, strict=True):
                if isinstance(directive, asks) and not given:
                    raise SpecError(lack, "plan", number)
        controllers = {
            controller
            for directive in self.directives
            if isinstance(directive, Cgroup)
            for controller in directive.controllers.split(",")
        }
        for number, directive in zip(self.lines, self.directives, strict=True):
            if isinstance(directive, CgroupSet) and directive.controller not in controllers:
                raise SpecError(
                    f"cgroup-set: no cgroup line for the controller {directive.controller!r}", "plan", number
                )
