"""What the tests with real neighbours need beside the fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jailed.patience import patience
from support.launcher import Launcher


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    with patience():
        yield


@pytest.fixture
def compiled(pyjail: Launcher, place: Path) -> Callable[..., Path]:
    """Makes a compiled jail of the test's user: `compiled("name.jail", "--", command…)`."""

    def compile_(name: str, *words: str) -> Path:
        r = pyjail.run("compile", "-o", place / name, *words)
        assert r.returncode == 0, r.stderr
        return place / name

    return compile_
