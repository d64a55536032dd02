"""`Plan`: what one run does, as typed directives and as the jailer's text. See docs/plan.md."""

from __future__ import annotations

import os

from jail import _fields as form
from jail._fields import Field, RefusedError, encode, escape
from jail._record import record
from jail.directives import (
    Argv,
    Audit,
    AwaitBegin,
    Capabilities,
    Cgroup,
    CgroupSet,
    ControlFd,
    CpuTime,
    Cwd,
    Depends,
    Dir,
    Enforced,
    Env,
    EnvPass,
    File,
    Grace,
    Hostname,
    IdleTimeout,
    Ids,
    Key,
    Landlock,
    LandlockNeed,
    LifeFd,
    ListenFds,
    Mask,
    MaxOutput,
    Mount,
    Name,
    Network,
    Notify,
    OutcomeTo,
    PassFd,
    Pty,
    Rlimit,
    Scope,
    Seccomp,
    Stats,
    Symlink,
    Timeout,
    Umask,
)
from jail.errors import SpecError
from rlimits.rlimit import RESOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from jail.directives import Directive

    T = TypeVar("T")

__all__ = ["Plan", "escape"]

HEADER = b"jailer 1"
END = b"end"


def _write_depends(given: Depends) -> list[str]:
    if given.kind == "absent":
        return [given.kind, given.path]
    return [
        given.kind,
        given.path,
        *(
            "-" if fact is None else str(fact)
            for fact in (given.dev, given.ino, given.size, given.mtime, given.ctime)
        ),
    ]


def _read_depends(kind: str, path: str, *facts: str) -> Depends:
    form.either(dict.fromkeys(("absent", "file", "dir", "symlink", "other"), True)).read(kind)
    if len(facts) != (0 if kind == "absent" else 5):
        raise RefusedError("wrong number of fields")
    fact = form.or_word(form.number(0, 2**64 - 1), "-", None)
    return Depends(kind, form.ABSOLUTE.read(path), *(fact.read(text) for text in facts))


def _write_ids(given: Ids) -> list[str]:
    if given.pool is None:
        return [str(given.uid), str(given.gid), "caller"]
    first, count, lock = given.pool
    return [str(given.uid), str(given.gid), "pool", str(first), str(count), lock]


def _read_ids(uid: str, gid: str, kind: str, *pool: str) -> Ids:
    user, group = form.ID.read(uid), form.ID.read(gid)
    if len(pool) != (3 if form.either({"caller": False, "pool": True}).read(kind) else 0):
        raise RefusedError("wrong number of fields")
    if not pool:
        return Ids(user, group)
    first, count = form.ID.read(pool[0]), form.number(0, 1 << 20).read(pool[1])
    if first == 0 or count == 0 or first + count > 2**32 - 1:
        raise RefusedError("a pool may not hold id 0 or 4294967295, nor be empty")
    return Ids(user, group, (first, count, form.ABSOLUTE.read(pool[2])))


def _read_mount(kind: str, target: str, flags: str, data: str) -> Mount:
    if kind not in ("tmpfs", "bind", "proc", "devpts"):
        raise RefusedError(f"unknown type {kind!r}")
    words = form.FLAGS.read(flags)
    if kind == "bind":
        form.ABSOLUTE.read(data)
    elif any(word in ("rec", "optional", "owner", "device") for word in words):
        raise RefusedError("rec, optional, owner and device go with bind only")
    return Mount(kind, target, words, data)  # the target's rule depends on the line's place


def _read_rlimit(name: str, soft: str, hard: str, how: str) -> Rlimit:
    if name not in RESOURCES:
        raise RefusedError(f"unknown resource {name!r}")
    low, high = form.SIZE.read(soft), form.SIZE.read(hard)
    if high != -1 and (low == -1 or low > high):
        raise RefusedError("soft is above hard")
    return Rlimit(name, low, high, EXACT.read(how))


def _read_env(text: str) -> Env:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise RefusedError(f"expected NAME=VALUE, got {text!r}")
    return Env(name, value)


def _read_env_pass(name: str) -> EnvPass:
    if not name or "=" in name:
        raise RefusedError(f"expected NAME, got {name!r}")
    return EnvPass(name)


def _read_outcome(kind: str, place: str) -> OutcomeTo:
    return OutcomeTo(form.either({"file": form.ABSOLUTE, "fd": form.DESCRIPTOR}).read(kind).read(place))


def _read_hostname(name: str) -> Hostname:
    if len(os.fsencode(name)) > 64:
        raise RefusedError(f"longer than 64 bytes {name!r}")
    return Hostname(name)


EXACT = form.either({"exact": True, "at-most": False})


@record(frozen=True)
class Shape:
    """How one kind of directive stands on a line: the number of fields, both ways of translation, and where
    it may stand only once what makes two of them the same."""

    word: str
    least: int
    most: int
    write: Callable[[Any], Iterable[str]]
    read: Callable[..., Any]
    once: Callable[[Any], object] | None


def _plain(
    word: str, kind: type, *fields: Field, once: Callable[[Any], object] | None = None
) -> tuple[type, Shape]:
    """A directive whose fields stand on the line one by one, in the record's order."""
    names = kind.__match_args__  # type: ignore[attr-defined]
    return kind, Shape(
        word,
        len(fields),
        len(fields),
        lambda given: [field.write(getattr(given, name)) for field, name in zip(fields, names, strict=True)],
        lambda *texts: kind(*[field.read(text) for field, text in zip(fields, texts, strict=True)]),
        once,
    )


def _only(_given: object) -> object:
    return None


SHAPES: dict[type, Shape] = dict(
    (
        _plain("key", Key, form.TEXT, once=_only),
        (Depends, Shape("depends", 2, 7, _write_depends, _read_depends, None)),
        (Ids, Shape("ids", 3, 6, _write_ids, _read_ids, _only)),
        _plain("network", Network, form.either({"none": True, "host": False}), once=_only),
        (Hostname, Shape("hostname", 1, 1, lambda given: [given.name], _read_hostname, _only)),
        (
            Mount,
            Shape(
                "mount",
                4,
                4,
                lambda given: [given.type, given.target, form.FLAGS.write(given.flags), given.data],
                _read_mount,
                None,
            ),
        ),
        _plain("mask", Mask, form.INSIDE),
        _plain("dir", Dir, form.INSIDE, form.MODE),
        _plain("file", File, form.INSIDE, form.MODE, form.TEXT),
        _plain("symlink", Symlink, form.INSIDE, form.NONEMPTY),
        (
            Rlimit,
            Shape(
                "rlimit",
                4,
                4,
                lambda given: [
                    given.name,
                    form.SIZE.write(given.soft),
                    form.SIZE.write(given.hard),
                    EXACT.write(given.exact),
                ],
                _read_rlimit,
                lambda given: given.name,
            ),
        ),
        _plain(
            "cgroup",
            Cgroup,
            form.either({"v1": 1, "v2": 2}),
            form.PLAIN,
            form.ABSOLUTE,
            form.ABSOLUTE,
            once=lambda given: given.mountpoint if given.version == 1 else None,
        ),
        _plain("cgroup-set", CgroupSet, form.TEXT, form.PLAIN, form.TEXT, form.NEED),
        _plain("scope", Scope, form.TEXT),
        _plain("capabilities", Capabilities, form.number(0, 2**64 - 1, 16), once=_only),
        _plain("landlock", Landlock, form.either({"rw": True, "ro": False}), form.ABSOLUTE),
        _plain("landlock-need", LandlockNeed, form.NEED, once=_only),
        _plain("seccomp", Seccomp, form.TEXT, form.PROGRAM, once=_only),
        _plain("audit", Audit, form.either({"refused": "refused", "all": "all"}), once=_only),
        _plain("umask", Umask, form.UMASK, once=_only),
        _plain("cwd", Cwd, form.ABSOLUTE, once=_only),
        (Env, Shape("env", 1, 1, lambda given: [f"{given.name}={given.value}"], _read_env, None)),
        (EnvPass, Shape("env-pass", 1, 1, lambda given: [given.name], _read_env_pass, None)),
        _plain("pass-fd", PassFd, form.DESCRIPTOR, once=lambda given: given.number),
        _plain("life-fd", LifeFd, form.DESCRIPTOR, once=_only),
        _plain("control-fd", ControlFd, form.DESCRIPTOR, once=_only),
        _plain("await-begin", AwaitBegin, once=_only),
        _plain("name", Name, form.NAME, once=_only),
        _plain("timeout", Timeout, form.SOME_MILLISECONDS, once=_only),
        _plain("idle-timeout", IdleTimeout, form.SOME_MILLISECONDS, once=_only),
        _plain("cpu-time", CpuTime, form.SOME_MILLISECONDS, once=_only),
        _plain(
            "max-output",
            MaxOutput,
            form.either({of: of for of in ("both", "stdout", "stderr")}),
            form.number(0, 2**63 - 1),
            once=lambda given: given.of,
        ),
        _plain("grace", Grace, form.MILLISECONDS, once=_only),
        _plain("pty", Pty, once=_only),
        (
            OutcomeTo,
            Shape(
                "outcome",
                2,
                2,
                lambda given: ["file" if isinstance(given.place, str) else "fd", str(given.place)],
                _read_outcome,
                _only,
            ),
        ),
        _plain("stats", Stats, once=_only),
        _plain("notify", Notify, once=_only),
        _plain("listen-fds", ListenFds, once=_only),
        _plain("enforced", Enforced, form.TEXT, form.TEXT),
        _plain("argv", Argv, form.TEXT),
    )
)

WORDS = {shape.word: (kind, shape) for kind, shape in SHAPES.items()}
NODES = (Mount, Mask, Dir, File, Symlink)


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
