"""What all refusals have in common."""

from __future__ import annotations

from support.launcher import Completed


def refused(r: Completed, *names: str, status: int = 125) -> str:
    """The run was refused before anything ran, in one short message that has each of `names`."""
    text = r.stderr.decode(errors="surrogateescape")
    assert (r.returncode, r.stdout) == (status, b""), text
    assert "Traceback" not in text
    for name in names:
        assert name in text, text
    assert 0 < len(text.splitlines()) <= 6, text
    return text
