"""Numbers and names of calls, against the kernel's own headers as far as they are installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seccomp import _calls as calls

LAST = 471  # the newest call of Linux 7.2, which the table is of
FOLDERS = {"x86_64": "x86_64", "aarch64": "aarch64", "riscv64": "riscv64", "ppc64le": "powerpc64le"}
HEADERS = {
    machine: Path(f"/usr/include/{folder}-linux-gnu/asm/unistd_64.h") for machine, folder in FOLDERS.items()
}


@pytest.mark.parametrize("machine", HEADERS)
def test_every_call_of_the_header_has_its_number_and_name(machine: str) -> None:
    path = HEADERS[machine]
    if not path.is_file():
        pytest.skip(f"no {path}: linux-libc-dev has that machine's calls from Debian 13 on")
    found = re.findall(r"#define __NR_(\w+)\s+(\d+)", path.read_text())
    numbers = {name: number for name, number in found if int(number) <= LAST}
    assert len(numbers) > 300
    for name, number in numbers.items():
        assert calls.number(name, machine) == int(number), name
        assert calls.name(int(number), machine) == name
