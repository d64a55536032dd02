"""What the tests with real neighbours need beside the fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jailed.patience import patience


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    with patience():
        yield
