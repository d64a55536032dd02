"""Starts each machine once, two at a time, and sums up what was run in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from support.features import PROJECT, wanted
from vm.legs import Leg, Results

# Those are for the machines themselves.
collect_ignore = [] if "PYJAIL_PROGRAMS" in os.environ else ["inside"]
CANNOT = 77  # scripts/vm's status where this host can run no machine
SUMMARY = pytest.StashKey[list[str]]()


def _legs(session: pytest.Session) -> list[Leg]:
    """Of the tests that were chosen, in their order."""
    found = [item.callspec.params.get("leg") for item in session.items if hasattr(item, "callspec")]
    return list(dict.fromkeys(leg for leg in found if leg is not None))


@pytest.fixture(scope="session")
def ran(request: pytest.FixtureRequest) -> Iterator[Callable[[Leg], Results]]:
    """What came of a leg's machine. All are under way once the first is asked for."""
    legs = _legs(request.session)
    told = request.config.stash.setdefault(SUMMARY, [])
    with ThreadPoolExecutor(2) as pool:
        running: dict[Leg, Future[Results]] = {leg: pool.submit(leg.run) for leg in legs}

        def wait(leg: Leg) -> Results:
            results = running[leg].result()
            last = results.said.splitlines()[-1] if results.said else "said nothing"
            if results.status == CANNOT:
                (pytest.fail if "vm" in wanted() else pytest.skip)(last)
            counts = (f"{results.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped"))
            if (line := f"{leg.name}: {', '.join(counts)}; {last}") not in told:
                told.append(line)
            return results

        yield wait


@pytest.fixture(scope="session")
def collected(request: pytest.FixtureRequest) -> dict[str, set[str]]:
    """The tests of each file, as found outside: the machine must have run as many."""
    files = sorted({file for leg in _legs(request.session) for file in leg.files})
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *files],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = [line for line in listing.splitlines() if "::" in line]
    return {file: {name for name in names if name.startswith(f"{file}::")} for file in files}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(SUMMARY, [])
    if lines:
        terminalreporter.section("inside the machines")
        for line in lines:
            terminalreporter.line(line)
