"""How each directive of a plan stands on its line: both ways of translation."""

from __future__ import annotations

import os

from jail import _fields as form
from jail._fields import Field, RefusedError
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
    Freezer,
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
from rlimits.rlimit import RESOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


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
        _plain("freezer", Freezer, form.ABSOLUTE, form.ABSOLUTE, once=_only),
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
