"""Tables of a policy file (TOML or JSON), read strictly: an error names the file and the key."""

from __future__ import annotations

from typing import Any, TypeVar

from seccomp._errors import PolicyError
from seccomp.policy import action_number

_T = TypeVar("_T")


class Table:
    """A table that knows its place, and in the end that nothing in it was left unread."""

    def __init__(self, data: Any, source: str | None, place: str) -> None:
        self.source, self.place = source, place
        if not isinstance(data, dict):
            raise PolicyError("must be a table", file=source, key=place)
        self.data: dict[str, Any] = data
        self.known: set[str] = set()

    def error(self, message: str, key: str = "") -> PolicyError:
        return PolicyError(
            message, file=self.source, key=".".join(part for part in (self.place, key) if part)
        )

    def take(self, key: str, kind: type[_T], default: _T | None = None) -> _T:
        """The value of a key of that type; without a default it must be there.  JSON's null, which Go writes
        for what is empty, is as good as absent.
        """
        self.known.add(key)
        if self.data.get(key) is None:
            if default is None:
                raise self.error("is missing", key)
            return default
        value = self.data[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f"must be {_KINDS[kind]}, not {value!r}", key)
        return value

    def action(self, key: str, default: str | None = None) -> str:
        action = self.take(key, str, default)
        try:
            action_number(action)
        except PolicyError as error:
            raise self.error(error.message, key) from None
        return action

    def strings(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        values = self.take(key, list, default)
        if values is default:
            return ()
        if not values or not all(isinstance(value, str) for value in values):
            raise self.error("must be a list of strings, and not empty", key)
        return tuple(values)

    def numbers(self, key: str) -> tuple[int, ...]:
        """A number, or a list of them."""
        value = self.data.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            self.known.add(key)
            return (value,)
        values = self.take(key, list)
        if not values or not all(isinstance(item, int) and not isinstance(item, bool) for item in values):
            raise self.error("must be a number or a list of numbers, and not empty", key)
        return tuple(values)

    def tables(self, key: str) -> list[Table]:
        values: list[Any] = self.take(key, list, [])
        place = f"{self.place}.{key}" if self.place else key
        return [Table(value, self.source, f"{place}[{index}]") for index, value in enumerate(values)]

    def table(self, key: str) -> Table:
        """A table within; an empty one if it is absent."""
        value: Any = self.take(key, dict, {})
        return Table(value, self.source, f"{self.place}.{key}" if self.place else key)

    def finish(self) -> None:
        """Error if a key was left unread."""
        for key in self.data:
            if key not in self.known:
                raise self.error(f"no such key; known are {', '.join(sorted(self.known))}", key)

    def build(self, kind: type[_T], **fields: Any) -> _T:
        """The record, with what its own checks say placed in the file; unknown keys are errors."""
        self.finish()
        try:
            return kind(**fields)
        except PolicyError as error:
            raise self.error(error.message, error.key) from None


_KINDS: dict[type, str] = {
    str: "a string",
    list: "a list",
    bool: "true or false",
    int: "a number",
    dict: "a table",
}
