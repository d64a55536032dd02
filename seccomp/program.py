"""Programs ready for the kernel: shipped with the profiles, kept in a cache folder, or compiled on the spot.

This module is on the path of every start of a jail, so it imports `os` alone; compiling imports the rest when
it is needed.

A stored program is one line (`seccomp-program 1`, machine, `strict` or `normal`, libseccomp's version, length
of the policy, length of the program), then the policy's text, then the program.  It counts only while its
text is the policy's text.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PROFILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "profiles")
_MAGIC = (
    "seccomp-program 1"  # the number changes with the form, and when a policy compiles to another program
)
_INSTRUCTION = 8  # bytes of a struct sock_filter


class Program:
    """A compiled policy.  `name`: the profile (`default`, `default.strict`) or the file; `bpf`: little-endian
    struct sock_filter.
    """

    __slots__ = ("bpf", "name")
    name: str
    bpf: bytes

    def __init__(self, name: str, bpf: bytes) -> None:
        if not bpf or len(bpf) % _INSTRUCTION:
            raise ValueError(f"a program of {len(bpf)} bytes is not made of instructions of {_INSTRUCTION}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "bpf", bpf)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name!r}: a Program does not change")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and (self.name, self.bpf) == (other.name, other.bpf)

    def __hash__(self) -> int:
        return hash((self.name, self.bpf))

    def __len__(self) -> int:
        return len(self.bpf) // _INSTRUCTION

    def __repr__(self) -> str:
        return f"<Program {self.name!r}, {len(self)} instructions>"

    def to_hex(self) -> str:
        """Each instruction as 16 hex digits, as numbers and not as memory: code (4), jt (2), jf (2), k
        (8).
        """
        import struct

        count = len(self)
        return "%04x%02x%02x%08x" * count % struct.unpack("<" + "HBBI" * count, self.bpf)


def profiles() -> list[str]:
    """The names of the shipped profiles."""
    return sorted(name.removesuffix(".toml") for name in os.listdir(_PROFILES) if name.endswith(".toml"))


def shipped_path(profile: str) -> str:
    """The file of a shipped profile."""
    return os.path.join(_PROFILES, profile + ".toml")


def load(name_or_path: str | os.PathLike[str], strict: bool = False, cache_dir: str | None = None) -> Program:
    """The program of a shipped profile or of a policy file (whatever contains a `/` or ends in `.toml`, or in
    `.json` for Docker's and OCI's form), for this machine.

    `strict`: refused calls kill the process (`Policy.strict`).  `cache_dir`: where programs that had to be
    compiled are kept; it is made if absent (0700) and passed over unless it is the caller's alone to write.

    Raises PolicyError (a ValueError) for a wrong policy or an unknown profile, OSError for a file that cannot
    be read, and LibraryMissingError where something must be compiled and libseccomp is not there.
    """
    given = os.fspath(name_or_path)
    if "/" in given or given.endswith((".toml", ".json")):
        name, path, stored = given, given, None
    else:
        name, path = given, shipped_path(given)
        stored = _read_or_none(stored_path(_PROFILES, given, strict))
    text = _read_or_none(path)
    if text is None:
        _complain(given, path)
    machine = os.uname().machine
    name += ".strict" if strict else ""
    bpf = unpack(stored, text, machine, strict) if stored is not None else None
    return Program(name, bpf if bpf is not None else _compile(text, path, strict, machine, cache_dir))


def stored_path(folder: str, profile: str, strict: bool) -> str:
    """Where a profile's program for this machine is kept."""
    return os.path.join(folder, f"{profile}{'.strict' if strict else ''}.{os.uname().machine}.bpf")


def pack(bpf: bytes, text: bytes, machine: str, strict: bool, library: str) -> bytes:
    """A stored program."""
    return _header(machine, strict, library, len(text), len(bpf)) + text + bpf


def unpack(
    stored: bytes, text: bytes, machine: str, strict: bool, library: str | None = None
) -> bytes | None:
    """The program of a stored one, if that is whole and belongs to this text, machine and (unless None)
    libseccomp.
    """
    line, _, rest = stored.partition(b"\n")
    words = line.split(b" ")
    size = len(rest) - len(text)
    if library is None and len(words) == 7:
        library = words[4].decode("ascii", "replace")
    if library is None or size <= 0 or line + b"\n" != _header(machine, strict, library, len(text), size):
        return None
    return rest[len(text) :] if rest.startswith(text) else None


def _header(machine: str, strict: bool, library: str, text_size: int, bpf_size: int) -> bytes:
    return (
        f"{_MAGIC} {machine} {'strict' if strict else 'normal'} {library} {text_size} {bpf_size}\n".encode()
    )


def _compile(text: bytes, path: str, strict: bool, machine: str, cache_dir: str | None) -> bytes:
    from seccomp._cache import Cache
    from seccomp.libseccomp import library_version

    library = ".".join(map(str, library_version()))
    # What a text means also hangs on the groups and profiles that it refers to, and on the kernel if it asks.
    meaning = f"{library}+{definitions()}+{os.uname().release}"
    cache = Cache(cache_dir, text, machine, strict, meaning)
    bpf = cache.get()
    if bpf is None:
        bpf = compile_text(text, path, strict, machine)
        cache.put(bpf)
    return bpf


def definitions() -> str:
    """A short hash of what policy files may refer to: the groups, the shipped profiles, arguments' widths."""
    import hashlib

    parts = [_read_or_none(shipped_path(name)) or b"" for name in profiles()]
    from seccomp._groups import GROUPS
    from seccomp._widths import WIDTH_32

    return hashlib.sha256(repr((parts, GROUPS, WIDTH_32)).encode()).hexdigest()[:16]


def compile_text(text: bytes, path: str, strict: bool, machine: str | None = None) -> bytes:
    """Compile a policy file's text; `path` is for messages."""
    from seccomp.policyfile import decode

    policy = decode(text, path)
    return (policy.strict() if strict else policy).compile(machine)


def _read_or_none(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        chunks = []
        while chunk := os.read(fd, 1 << 20):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def _complain(given: str, path: str) -> NoReturn:
    if given == path:
        raise FileNotFoundError(2, "No such policy file", path)
    from seccomp._errors import PolicyError

    raise PolicyError(
        f"no profile {given!r}: there are {', '.join(profiles())} "
        "(a policy file's name has a / or ends in .toml)"
    )
