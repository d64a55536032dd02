"""The one error of this package."""

from __future__ import annotations


class LimitError(ValueError):
    """A limit that makes no sense. `field` is the limit's name, or "" where only a text was parsed."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
