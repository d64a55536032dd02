"""What another kernel, cgroup v2, systemd and AppArmor make of the jails: tests that run in virtual machines.

Each machine is started once; each file that runs in it is a test here. It fails if one of its tests failed
there, if one was skipped for a reason that is no property of the machine, or if some of them did not run.
A file of which nothing can run as the machine's user is skipped here too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from vm.legs import LEGS, Leg, Results

CASES = [
    pytest.param(leg, file, id=f"{leg.name}-{file}", marks=[pytest.mark.slow] * bool(leg.part))
    for leg in LEGS
    for file in leg.files
]


def functions(names: Iterable[str]) -> Counter[str]:
    """How often each is there: what follows in brackets is not written alike by all versions of pytest."""
    return Counter(name.partition("[")[0] for name in set(names))


@pytest.mark.parametrize(("leg", "file"), CASES)
def test_inside(leg: Leg, file: str, ran: Callable[[Leg], Results], collected: dict[str, set[str]]) -> None:
    results = ran(leg)
    print(results.said, results.output, sep="\n")
    assert results.status in (0, 1), results.said  # pytest came to its end there
    cases = results.of(file)
    assert [f"{case.name}: {case.message}" for case in cases if case.outcome == "failed"] == []
    skipped = {case.message for case in cases if case.outcome == "skipped"}
    assert skipped <= leg.skips
    assert functions(case.name for case in cases) == functions(collected[file])
    if not any(case.outcome == "passed" for case in cases):
        pytest.skip("; ".join(sorted(skipped)))
