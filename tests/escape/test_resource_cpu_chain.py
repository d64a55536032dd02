"""CPU time dodged by processes that are always young: chains of forks, daemons, many at once."""

from __future__ import annotations

from support.launcher import Launcher

CHAIN = """
import time
def link():
    while time.process_time() < 0.05:
        pass
    if os.fork():
        os._exit(0)
reader, writer = os.pipe()
if os.fork():
    os.close(writer)
    os.read(reader, 1)
os.setsid()
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    link()
"""


def test_a_chain_of_forks_uses_up_the_jails_time(cgroup_pyjail: Launcher) -> None:
    """Each link is a new process, none uses a tenth of the limit, nobody waits for any of them."""
    result = cgroup_pyjail.python(CHAIN, options=["--cpu-time", "1"])
    assert result.outcome is not None
    assert result.outcome["status"] == "cpu-exceeded"
    assert result.returncode == 124
    used = result.outcome["cpu_user_seconds"] + result.outcome["cpu_system_seconds"]
    assert 1 <= used < 1.5


def test_the_rlimit_alone_is_dodged_and_not_claimed_to_be_more(pyjail: Launcher) -> None:
    """What `--allow-weaker cpu-time` accepts: the outcome says which mechanism it was."""
    if pyjail.user.is_root:
        return
    weaker = ["--cpu-time", "1", "--allow-weaker", "cpu-time", "--timeout", "3", "--grace", "0"]
    result = pyjail.python(CHAIN, options=weaker)
    assert result.outcome is not None
    if result.outcome["enforced"]["cpu_time"] == "rlimit":
        assert result.outcome["status"] == "timed-out"
    else:
        assert result.outcome["status"] == "cpu-exceeded"


def test_raising_the_signal_oneself_is_no_verdict(pyjail: Launcher) -> None:
    options = ["--cpu-time", "100", "--allow-weaker", "cpu-time"]
    result = pyjail.python("os.kill(os.getpid(), 24)", options=options)
    assert result.outcome is not None
    assert (result.outcome["status"], result.outcome["signal"]) == ("signaled", 24)
    assert result.outcome["limits_hit"] == []
