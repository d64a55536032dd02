"""What the caller wants: `Jail` and what it is made of. Checked when made; nothing here looks at the host."""

from __future__ import annotations

import os

from jail._record import record
from jail.errors import SpecError
from rlimits import INFINITY, LimitError, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from rlimits.io_max import IoMax
    from rlimits.rlimit import Rlimit

WEAKER = ("memory", "pids", "cpu-time", "io-weight")
"""What `Jail.allow_weaker` may hold: limits that can be accepted per process instead of over the whole jail,
or, of `io-weight`, not at all."""

WITHOUT = ("proc", "tmp", "shm", "etc", "landlock")
"""What `Jail.without` may hold: parts of the default jail that can be taken away."""

NETWORKS = ("none", "host")
AUDITS = ("refused", "all")
MAX_ID = 2**32 - 2
MAX_DESCRIPTOR = 65535
MAX_DESCRIPTORS = 64


@record(frozen=True)
class Bind:
    """A file or folder of the host, shown inside. Raises SpecError.

    `source` is an absolute path on the host, `target` one in the jail. `writable`: the payload may change it,
    with the rights of the source's owner where the jail has ids of its own. `optional`: an absent source is
    passed over. Never followed by setuid bits or device nodes.
    """

    source: str
    target: str
    writable: bool = False
    optional: bool = False

    def __post_init__(self) -> None:
        _absolute("bind source", self.source)
        _target("bind target", self.target)


@record(frozen=True)
class Tmpfs:
    """An empty writable folder in memory, gone after the run; `size` in bytes, None for `Limits.tmp_size`.
    Raises SpecError."""

    target: str
    size: int | None = None

    def __post_init__(self) -> None:
        _target("tmpfs target", self.target)
        if self.size is not None:
            parse_limits(tmp_size=self.size)


@record(frozen=True)
class Jail:
    """What a payload may see and use. Frozen; `dataclasses.replace` makes variations. Raises SpecError.

    The default is the whole default policy: no host file but programs and libraries, read-only; no network;
    no privilege; the limits of `Limits`; a filter of system calls.
    """

    root: str = "host"
    """`host`: the host's programs and libraries in a root of our own; else the absolute path of a folder that
    becomes the root, read-only. It must hold the folders /proc, /dev and /tmp that the jail mounts there."""
    mounts: tuple[Bind | Tmpfs, ...] = ()
    env: tuple[tuple[str, str | None], ...] = ()
    """Variables; None passes the caller's value at the time of the run. Besides PATH, HOME, LANG and TERM."""
    cwd: str | None = None
    """The absolute path inside to start in; None is /tmp."""
    hostname: str = "jail"
    network: str = "none"
    """`none`: a loopback of its own; `host`: the caller's network, with all that listens there."""
    limits: Limits = Limits()
    seccomp: str = "default"
    """A profile's name, the path of a policy file, or `off`."""
    strict: bool = False
    """A refused system call kills instead of failing."""
    audit: str = ""
    """Which system calls the outcome tells of: `refused`, those that the policy refuses; `all`, those that it
    allows too, each of which then takes as long as a round trip to the supervisor; "" for none. What is
    allowed does not change, but that a program cannot have a listener of its own (seccomp_unotify(2)). Not
    heard: calls that a filter of the payload's own refuses, and those around the kernel (vDSO)."""
    uid: int = 1000
    """The user id that the payload sees; on the host it is another."""
    gid: int = 1000
    pass_fds: tuple[int, ...] = ()
    """Descriptors that stay open besides 0, 1 and 2."""
    pty: bool = False
    """The payload gets a terminal of its own, as its controlling terminal and descriptors 0, 1 and 2; what it
    writes to it comes out at stdout, stderr's included, and stdin is typed into it. If stdin is a terminal,
    that is raw meanwhile. Does not hold back escape sequences, which a terminal that shows the output
    obeys."""
    allow_weaker: frozenset[str] = frozenset()
    """Limits that need not hold in full where the host cannot do that; see WEAKER."""
    without: frozenset[str] = frozenset()
    """Parts of the default jail that are left out; see WITHOUT."""

    @classmethod
    def default(cls) -> Jail:
        """The default policy, to begin from; `Jail()` too."""
        return cls()

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Jail:
        """The jail that a configuration file describes: the keys of `pyjail run --config`. Raises
        SpecError."""
        from jail.configfile import read_jail

        return read_jail(os.fspath(path))

    def with_bind(
        self,
        source: str | os.PathLike[str],
        target: str | None = None,
        *,
        writable: bool = False,
        optional: bool = False,
    ) -> Jail:
        """And a file or folder of the host, shown at `target`, or at its own path; see Bind."""
        path = os.path.abspath(source)
        bind = Bind(path, target if target is not None else path, writable, optional)
        return _changed(self, mounts=(*self.mounts, bind))

    def with_tmpfs(self, target: str, size: int | str | None = None) -> Jail:
        """And an empty folder in memory, of `size` bytes (also `"64M"`) at most; see Tmpfs."""
        bytes_ = None if size is None else parse_limits(tmp_size=size).tmp_size
        return _changed(self, mounts=(*self.mounts, Tmpfs(target, bytes_)))

    def with_env(self, **values: str | None) -> Jail:
        """And these variables, each in the place of one of its name; None passes the caller's value."""
        kept = tuple(pair for pair in self.env if pair[0] not in values)
        return _changed(self, env=(*kept, *values.items()))

    def with_limits(
        self,
        *,
        rlimits: Iterable[str | Rlimit] | None = None,
        io_max: Iterable[str | IoMax] | None = None,
        **limits: str | int | float | None,
    ) -> Jail:
        """With these limits, numbers or texts such as `memory="256M", timeout="1.5s"`, and the others as
        they are; None is the default policy's. See Limits."""
        now: dict[str, Any] = {name: getattr(self.limits, name) for name in Limits.__match_args__}
        if rlimits is not None:
            now["rlimits"] = rlimits
        if io_max is not None:
            now["io_max"] = io_max
        return _changed(self, limits=parse_limits(**{**now, **limits}))

    def __post_init__(self) -> None:
        _check_root(self.root)
        _check_mounts(self)
        check_env(self.env)
        if self.cwd is not None:
            _absolute("cwd", self.cwd)
        _check_hostname(self.hostname)
        _one_of("network", self.network, NETWORKS)
        _check_audit(self)
        if not isinstance(self.limits, Limits):
            _refuse("limits", f"expected Limits, got {self.limits!r}")
        if not _text("seccomp", self.seccomp):
            _refuse("seccomp", "the name is empty; write a profile's name, a policy file's path, or off")
        for field in ("uid", "gid"):
            _whole(field, getattr(self, field), 0, MAX_ID)
        _check_descriptors(self.pass_fds)
        if self.pty:
            _check_terminals(self)
        for field, known in (("allow_weaker", WEAKER), ("without", WITHOUT)):
            words = getattr(self, field)
            if not isinstance(words, frozenset):
                _refuse(field, f"expected a frozenset of words, got {words!r}")
            for word in words:
                _one_of(field, word, known)


def _changed(jail: Jail, **fields: object) -> Jail:
    now: dict[str, Any] = {name: getattr(jail, name) for name in Jail.__match_args__}
    return Jail(**{**now, **fields})


def parse_limits(
    *,
    rlimits: Iterable[str | Rlimit] = (),
    io_max: Iterable[str | IoMax] = (),
    **texts: str | int | float | None,
) -> Limits:
    """`Limits.parse` with this package's error: SpecError, whose field is e.g. `limits.memory`."""
    try:
        return Limits.parse(rlimits=rlimits, io_max=io_max, **texts)
    except LimitError as error:
        message = str(error).removeprefix(f"{error.field}: ")
        raise SpecError(message, f"limits.{error.field}") from None


def _refuse(field: str, message: str) -> NoReturn:
    raise SpecError(message, field)


def _text(field: str, value: object) -> str:
    """A text that the kernel can be given."""
    if not isinstance(value, str):
        _refuse(field, f"expected text, got {value!r}")
    if "\0" in value:
        _refuse(field, f"{value!r} holds a NUL character, which no path, name or value can have")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        _refuse(field, f"{value!r} cannot be written in this locale's encoding")
    return value


def _absolute(field: str, value: object) -> str:
    text = _text(field, value)
    if not text.startswith("/"):
        _refuse(field, f"{text!r} is not an absolute path; it must begin with a slash")
    return text


def _names(path: str) -> tuple[str, ...]:
    """The names on a path, so that /a//b/ and /a/b are the same."""
    return tuple(name for name in path.split("/") if name)


def _target(field: str, value: object) -> None:
    """A place inside the jail that can be mounted on."""
    names = _names(_absolute(field, value))
    if ".." in names or "." in names:
        _refuse(field, f"{value!r} may not hold . or ..; write the path that is meant")
    if not names:
        _refuse(field, f"{value!r} is the root itself, which nothing can be mounted on; see Jail.root")


def _check_root(root: object) -> None:
    if root == "host":
        return
    names = _names(_absolute("root", root))
    if not names:
        _refuse("root", "'/' would show all of the host's files; leave it out, or name a folder")


def _check_mounts(jail: Jail) -> None:
    if not isinstance(jail.mounts, tuple):
        _refuse("mounts", f"expected a tuple of Bind and Tmpfs, got {jail.mounts!r}")
    seen = set()
    for mount in jail.mounts:
        if not isinstance(mount, (Bind, Tmpfs)):
            _refuse("mounts", f"expected Bind or Tmpfs, got {mount!r}")
        names = _names(mount.target)
        if names in seen:
            _refuse("mounts", f"{mount.target!r} is the target of two mounts; leave one out")
        seen.add(names)
        if names[0] == "proc" and "proc" not in jail.without:
            _refuse(
                "mounts",
                f"{mount.target!r} would cover the jail's own /proc; take that away first (without proc)",
            )


def check_env(env: object) -> None:
    """Refuse what cannot be variables. Raises SpecError."""
    if not isinstance(env, tuple):
        _refuse("env", f"expected a tuple of (name, value) pairs, got {env!r}")
    for pair in env:
        if not isinstance(pair, tuple) or len(pair) != 2:
            _refuse("env", f"expected (name, value) with None for the caller's value, got {pair!r}")
        name, value = pair
        if not _text("env", name) or "=" in name:
            _refuse("env", f"{name!r} is not a variable's name: it is empty or holds an equals sign")
        if value is not None:
            _text(f"env {name}", value)


def _check_hostname(name: object) -> None:
    text = _text("hostname", name)
    if not text or len(os.fsencode(text)) > 64:
        _refuse("hostname", f"{text!r} must have 1 to 64 bytes")
    if (
        not text.isascii()
        or not text.replace("-", "a").replace(".", "a").replace("_", "a").isalnum()
        or text[0] in "-."
    ):
        _refuse(
            "hostname",
            f"{text!r} may hold letters, digits, '-', '.' and '_', and begins with none of '-' and '.'",
        )


def _check_audit(jail: Jail) -> None:
    if jail.audit == "":
        return
    _one_of("audit", jail.audit, AUDITS)
    if jail.seccomp == "off":
        _refuse("audit", "without a policy (seccomp off) there is nothing to tell; name one, or leave it out")


def _check_descriptors(numbers: object) -> None:
    if not isinstance(numbers, tuple) or len(numbers) > MAX_DESCRIPTORS:
        _refuse("pass_fds", f"expected a tuple of at most {MAX_DESCRIPTORS} descriptors, got {numbers!r}")
    for number in numbers:
        _whole("pass_fds", number, 3, MAX_DESCRIPTOR)
        if numbers.count(number) > 1:
            _refuse("pass_fds", f"{number} stands twice")


def _check_terminals(jail: Jail) -> None:
    if jail.limits.max_stderr not in (None, INFINITY):
        _refuse("limits.max_stderr", "at a terminal (pty) stderr is no stream of its own; use max_output")
    for mount in jail.mounts:
        first, *rest = _names(mount.target)
        if first == "dev" and (not rest or rest[0] in ("pts", "ptmx", "tty")):
            _refuse(
                "mounts", f"{mount.target!r} would cover the jail's own terminal (pty); leave out one of them"
            )


def _whole(field: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        _refuse(field, f"expected a whole number from {least} to {most}, got {value!r}")


def _one_of(field: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        _refuse(field, f"expected {', '.join(known[:-1])} or {known[-1]}, got {value!r}")
