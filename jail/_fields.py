"""The fields of a plan's lines: escaping, and for each kind of field how it is written and checked.

The same rules stand in jailer/plan_fields.c; a test holds both against the same lines.
"""

from __future__ import annotations

import os

from jail._record import record
from jail.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SPECIAL = bytes(range(0x21)) + b"\x7f\\"
MAX_NAME = 64
CONTROL = bytes(range(0x20)) + b"\x7f"


class RefusedError(Exception):
    """Why a line is refused; whoever knows the line's number makes a SpecError of it."""


@record(frozen=True)
class Field:
    """How a value is written and how a text is read; `read` raises RefusedError."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]


def encode(text: str) -> bytes:
    """The field that stands for the text. Raises SpecError where none can."""
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        raise SpecError(f"{text!r} cannot be written in this locale's encoding", "plan") from None
    if b"\0" in raw:
        raise SpecError(f"{text!r} holds a NUL byte, which no program, path or value can have", "plan")
    return escape(raw)


def escape(raw: bytes) -> bytes:
    """The field that stands for the bytes, none of which may be NUL."""
    if not raw:
        return b"\\000"
    if len(raw.translate(None, SPECIAL)) == len(raw):
        return raw
    return b"".join(b"\\%03o" % byte if byte in SPECIAL else bytes((byte,)) for byte in raw)


def unescape(field: bytes) -> str:
    """The text that the field stands for. Raises RefusedError."""
    if field == b"\\000":
        return ""
    first, *rest = field.split(b"\\")
    parts = [first]
    for part in rest:
        digits = part[:3]
        if len(digits) < 3 or digits.translate(None, b"01234567") or not 0 < int(digits, 8) < 256:
            raise RefusedError(f"a malformed escape in {os.fsdecode(field)!r}")
        parts += (bytes((int(digits, 8),)), part[3:])
    return os.fsdecode(b"".join(parts))


def split(line: bytes) -> list[str]:
    """The fields of a line, the first of them the directive's word. Raises RefusedError."""
    if len(line.translate(None, CONTROL)) != len(line):
        raise RefusedError("a control byte must be written as \\ooo")
    fields = line.split(b" ")
    if b"" in fields:
        raise RefusedError("an empty field must be written as \\000, and one space parts fields")
    return [unescape(field) for field in fields]


def number(least: int, most: int, base: int = 10) -> Field:
    """A whole number without sign; in base 8 or 16 with small digits and no prefix."""
    digits = "0123456789abcdef"[:base]

    def read(text: str) -> int:
        value = int(text, base) if text and not text.strip(digits) else -1
        if not least <= value <= most:
            raise RefusedError(f"not a number, or out of range: {text!r}")
        return value

    return Field({8: "{:o}", 10: "{:d}", 16: "{:x}"}[base].format, read)


def either(words: dict[str, Any]) -> Field:
    """One of some words, each standing for a value."""
    back = {value: word for word, value in words.items()}

    def read(text: str) -> Any:
        if text not in words:
            raise RefusedError(f"expected {' or '.join(words)}, got {text!r}")
        return words[text]

    return Field(back.__getitem__, read)


def or_word(field: Field, word: str, value: int | None) -> Field:
    """The field, or a word that stands for a value of its own."""
    return Field(
        lambda given: word if given == value else field.write(given),
        lambda text: value if text == word else field.read(text),
    )


def _read_absolute(text: str) -> str:
    if not text.startswith("/"):
        raise RefusedError(f"not an absolute path: {text!r}")
    return text


def _read_inside(text: str) -> str:
    names = [name for name in _read_absolute(text).split("/") if name]
    if "." in names or ".." in names:
        raise RefusedError(f"a target may not hold . or ..: {text!r}")
    if not names:
        raise RefusedError(f"the target must lie below the root: {text!r}")
    return text


def _read_plain(text: str) -> str:
    if text in ("", ".", "..") or "/" in text:
        raise RefusedError(f"not a plain name: {text!r}")
    return text


def _read_nonempty(text: str) -> str:
    if not text:
        raise RefusedError("an empty target")
    return text


def _read_name(text: str) -> str:
    letters = text.replace("-", "").replace("_", "").replace(".", "")
    if not (text.isascii() and (letters.isalnum() or not letters) and 0 < len(text) <= MAX_NAME):
        raise RefusedError(f"expected at most {MAX_NAME} letters, digits, - _ and ., got {text!r}")
    if text[0] in ".-" or text.isdigit():
        raise RefusedError(f"a name begins with neither . nor -, and is no number, got {text!r}")
    return text


TEXT = Field(str, str)
NONEMPTY = Field(str, _read_nonempty)
ABSOLUTE = Field(str, _read_absolute)
INSIDE = Field(str, _read_inside)
PLAIN = Field(str, _read_plain)
NAME = Field(str, _read_name)
ID = number(0, 2**32 - 2)
MODE = number(0, 0o7777, 8)
UMASK = number(0, 0o777, 8)
DESCRIPTOR = number(3, 65535)
MILLISECONDS = number(0, 3660 * 86400 * 1000)
SOME_MILLISECONDS = number(1, 3660 * 86400 * 1000)
SIZE = or_word(number(0, 2**63 - 1), "infinity", -1)
NEED = either({"required": True, "optional": False})


BIG_ENDIAN = (1, 0, 2, 3, 7, 6, 5, 4)  # which byte of an instruction in memory comes first in its number


def _write_program(program: bytes) -> str:
    """Instructions as the kernel takes them (struct sock_filter: u16 code, u8 jt, u8 jf, u32 k) as hex
    numbers."""
    numbers = bytearray(len(program))
    for at, source in enumerate(BIG_ENDIAN):
        numbers[at::8] = program[source::8]
    return numbers.hex()


def _read_program(text: str) -> bytes:
    if not text or len(text) % 16 or len(text) > 16 * 4096 or text.strip("0123456789abcdef"):
        raise RefusedError("a program is 1 to 4096 instructions of 16 hex digits")
    numbers = bytes.fromhex(text)
    program = bytearray(len(numbers))
    for at, source in enumerate(BIG_ENDIAN):
        program[source::8] = numbers[at::8]
    return bytes(program)


PROGRAM = Field(_write_program, _read_program)
FLAG_WORDS = ("ro", "nosuid", "nodev", "noexec", "rec", "optional", "owner", "device")


def _read_flags(text: str) -> tuple[str, ...]:
    if text == "-":
        return ()
    flags = tuple(text.split(","))
    for flag in flags:
        if flag not in FLAG_WORDS:
            raise RefusedError(f"unknown flag {flag!r}")
    return flags


FLAGS = Field(lambda flags: ",".join(flags) or "-", _read_flags)
