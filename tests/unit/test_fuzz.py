"""What the jailer reads from others, fuzzed for a moment: the same inputs each time, by a fixed seed.
`scripts/fuzz` goes on for as long as one likes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.features import PROJECT


@pytest.mark.parametrize(
    ("what", "corpus", "runs", "longest"),
    [
        ("plan", "plans", 20_000, 16_384),
        ("request", "requests", 50_000, 4096),
        ("peers", "peers", 3000, 4096),
    ],
)
def test_a_parser_survives_a_short_fuzzing(
    tmp_path: Path, what: str, corpus: str, runs: int, longest: int
) -> None:
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed: no libFuzzer")
    fuzzer = tmp_path / what
    found = tmp_path / "found"
    found.mkdir()
    subprocess.run([PROJECT / "scripts" / "fuzz", what, "--build", fuzzer], check=True)
    options = (f"-runs={runs}", "-seed=1", f"-max_len={longest}", f"-artifact_prefix={tmp_path}/")
    ended = subprocess.run(
        [fuzzer, *options, found, PROJECT / "tests" / "data" / corpus],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert f"Done {runs} runs" in ended.stderr
