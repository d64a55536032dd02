"""Payloads that stop themselves, and each other, are ended by the clock all the same."""

from __future__ import annotations

import pytest
from support.launcher import Launcher

SELF = "import signal; os.kill(os.getpid(), signal.SIGSTOP)"
GROUP = """
import signal
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        break
os.kill(-1, signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGSTOP)
"""
AGAIN = """
import signal
payload = os.getpid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    while True:
        os.kill(payload, signal.SIGSTOP)
signal.pause()
"""


@pytest.mark.parametrize("code", [SELF, GROUP, AGAIN], ids=["self", "everyone", "again and again"])
@pytest.mark.parametrize(
    ("option", "status"), [("--timeout", "timed-out"), ("--idle-timeout", "idle-timed-out")]
)
def test_a_stopped_payload_is_timed_out(pyjail: Launcher, code: str, option: str, status: str) -> None:
    result = pyjail.python(code, options=[option, "0.5", "--grace", "0.2"])
    assert result.outcome is not None
    assert (result.returncode, result.outcome["status"]) == (124, status)
