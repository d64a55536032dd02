"""Bodies that are larger than the gateway may become: they pass through it and are whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gateway import Gateway, gateway

PIECE, PIECES = 1 << 20, 1024
MOST_KIB = 100 << 10
SETTINGS = {"timeout": "10m", "max_body": "2G"}


def peak_kib(made: Gateway) -> int:
    status = Path(f"/proc/{made.process.pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.slow
def test_a_gibibyte_up_and_down(tmp_path):
    piece = os.urandom(PIECE)
    sent, came, wanted = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()

    def body() -> Iterator[bytes]:
        for _ in range(PIECES):
            sent.update(piece)
            yield piece

    with gateway(tmp_path, []) as made:
        made.service("sum.sh", "exec sha256sum\n", **SETTINGS)
        made.service("much.sh", f"head -c {PIECE * PIECES} /dev/zero | tr '\\0' x\n", **SETTINGS)
        with made.client() as client:
            assert client.post("/sum", content=body()).text.split() == [sent.hexdigest(), "-"]
            with client.stream("GET", "/much") as response:
                for part in response.iter_raw():
                    came.update(part)
        for _ in range(PIECES):
            wanted.update(b"x" * PIECE)
        assert came.digest() == wanted.digest()
        assert peak_kib(made) < MOST_KIB
