"""Requests to a jail while it runs: usage, events, signals, its clocks; and askers who misbehave."""

from __future__ import annotations

import errno

import pytest
from support.scripts import Scripts

LOOP = """
def started(code, **options):
    process = jail.start(["/bin/sh", "-c", code], stdin=PIPE, stdout=PIPE, **options)
    process.stdout.readline()
    return process

def ask(process, text, *descriptors):
    with process._running.connect() as connection:
        socket.send_fds(connection, [text], descriptors)
        return json.loads(connection.recv(65536) or "null")
"""


def test_usage_of_a_running_jail(scripts: Scripts) -> None:
    found = scripts.answer(LOOP + """
with started("sleep 1000 & echo ready; read line; kill $!") as process:
    stats = process.stats()
    process.stdin.close()
answer(wall=stats.wall_seconds > 0, memory=stats.memory_bytes, pids=stats.pids,
       limits=dict(process.outcome.enforced).get("memory"))
""")
    assert found["wall"]
    if found["limits"] in ("cgroup-v1", "cgroup-v2"):
        assert found["memory"] > 0
        assert found["pids"] == 2


def test_cpu_time_is_counted_while_it_is_used(scripts: Scripts) -> None:
    found = scripts.answer(LOOP + """
ends = []
for limits in ({}, {"cpu_time": 60}):  # by /proc, and where there is one by the cgroup
    box = Jail(allow_weaker=frozenset(("cpu-time",))).with_limits(**limits)
    with started("echo ready; (while :; do :; done) & while :; do :; done", jail=box) as process:
        before = after = process.stats()
        while after.cpu_user_seconds < before.cpu_user_seconds + 0.1:
            after = process.stats()
        process.kill()
    ends.append(after.pids)
answer(ends=ends)
""")
    assert found == {"ends": [2, 2]}


def test_events_until_the_end(scripts: Scripts) -> None:
    assert scripts.answer(LOOP + """
with started("echo ready; read line; exit 3") as process:
    events = process.events()
    kinds = [next(events).kind]
    ask(process, b"signal %d" % signal.SIGSTOP)
    kinds.append(next(events).kind)
    ask(process, b"signal %d" % signal.SIGCONT)
    kinds.append(next(events).kind)
    process.stdin.close()
    last = list(events)
answer(kinds=kinds, last=[[one.kind, one.exit_code, one.lost] for one in last],
       code=process.outcome.exit_code)
""") == {"kinds": ["started", "stopped", "continued"], "last": [["exited", 3, 0]], "code": 3}


def test_what_the_policy_refuses_is_an_event(scripts: Scripts) -> None:
    assert scripts.answer(LOOP + """
with started("echo ready; read line; unshare --user true; exit 0", jail=Jail(audit="refused")) as process:
    events = process.events()
    process.stdin.close()
    found = list(events)
answer(kinds=[one.kind for one in found], calls=sorted({one.call for one in found if one.call}))
""") == {"kinds": ["started", "denied", "exited"], "calls": ["unshare"]}


def test_who_does_not_read_events_loses_some_and_learns_how_many(scripts: Scripts) -> None:
    """They hold up neither the supervisor nor the jail."""
    assert scripts.answer(LOOP + """
code = "import ctypes; unshare = ctypes.CDLL(None).unshare; [unshare(1 << 28) for _ in range(5000)]"
box = Jail(audit="refused").with_limits(timeout=60)
with started(f"echo ready; read line; exec python3 -c '{code}'", jail=box) as process:
    events = process.events()
    process.stdin.close()
    outcome = process.wait()
    found = list(events)
seen = [one for one in found if one.kind == "denied"]
answer(all=dict(outcome.denied)["unshare"], status=outcome.status, some=0 < len(seen) < 5000,
       last=found[-1].kind == "exited" or found[-1].kind == "denied")
""") == {"all": 5000, "status": "exited", "some": True, "last": True}


def test_who_does_not_read_answers_loses_the_connection_alone(scripts: Scripts) -> None:
    assert scripts.answer(LOOP + """
with started("echo ready; read line") as process:
    deaf = process._running.connect()
    end = select.poll()
    end.register(deaf, select.POLLRDHUP)
    sent = 0
    while not end.poll(0):
        try:
            deaf.send(b"stats", socket.MSG_DONTWAIT)
            sent += 1
        except BlockingIOError:
            process.stats()  # served all the same
    answers = 0
    while deaf.recv(65536):
        answers += 1
    process.stdin.close()
answer(fewer=answers < sent, status=process.outcome.status)
""") == {"fewer": True, "status": "exited"}


def test_requests_that_make_no_sense_are_refused(scripts: Scripts) -> None:
    found = scripts.answer(LOOP + """
with started("echo ready; read line") as process:
    wrong = [b"nonsense", b"stats\\0", b"signal", b"signal 0", b"signal 65", b"signal x", b"x" * 300, b" ",
             b"connect"]
    refused = [ask(process, text).get("error", {}).get("errno") for text in wrong]
    spare = ask(process, b"stats", 0)["error"]["errno"]
    process.stdin.close()
answer(refused=refused, spare=spare, status=process.outcome.status)
""")
    assert found == {"refused": [38, 22, 22, 22, 22, 22, 22, 38, 22], "spare": 22, "status": "exited"}


def test_descriptors_that_come_with_nothing_do_not_stay(scripts: Scripts) -> None:
    """An empty message is the end of its connection, and of what came with it."""
    assert scripts.answer(LOOP + """
with started("echo ready; read line") as process:
    readable, writable = os.pipe()
    for count in (1, 100):
        with process._running.connect() as empty:
            socket.send_fds(empty, [b""], [writable] * count)
            over = empty.recv(100)
    os.close(writable)
    ended = has_ended(readable)  # nobody else holds the other end
    alive = process.stats().wall_seconds > 0
    process.stdin.close()
answer(over=len(over), ended=ended, alive=alive)
""") == {"over": 0, "ended": True, "alive": True}


def test_too_many_connections_are_refused_and_the_jail_is_held_all_the_same(scripts: Scripts) -> None:
    assert scripts.answer(LOOP + """
with started("echo ready; read line") as process:
    many = [process._running.connect() for _ in range(40)]
    try:
        process.stats()
    except OSError as error:
        refused = error.errno
    for one in many:
        one.close()
    again = process.stats().wall_seconds > 0
    many = [process._running.connect() for _ in range(40)]
    process.kill()
    ended = process.wait().status
    for one in many:
        one.close()
answer(refused=refused, again=again, status=ended)
""") == {"refused": errno.EUSERS, "again": True, "status": "killed"}


@pytest.mark.parametrize("how", ["kill", "signal 9"])
def test_kill_by_request(scripts: Scripts, how: str) -> None:
    assert scripts.answer(LOOP + """
with started("trap '' TERM; echo ready; sleep 1000") as process:
    ask(process, sys.argv[1].encode())
answer(status=process.outcome.status)
""", how) == {"status": "killed"}


def test_clocks_start_anew_once(scripts: Scripts) -> None:
    """The time before is no time of the job, and its limit holds from there on."""
    found = scripts.answer(LOOP + """
box = Jail().with_limits(timeout=1)
with started("echo ready; read line; while :; do sleep 1; done", jail=box) as process:
    before = process.stats().wall_seconds
    process._begin()
    after = process.stats().wall_seconds
    try:
        process._begin()
    except OSError as error:
        again = error.errno
    process.stdin.close()
    outcome = process.wait()
answer(status=outcome.status, again=again, wall=1 <= outcome.wall_seconds)
""")
    assert found == {"status": "timed-out", "again": 114, "wall": True}


def test_an_ended_jail_cannot_be_asked(scripts: Scripts) -> None:
    assert scripts.answer("""
process = jail.start(["/bin/true"])
process.wait()
def ask(act):
    try:
        return list(act())
    except ProcessLookupError:
        return "ended"
answer(stats=ask(process.stats), events=ask(process.events))
""") == {"stats": "ended", "events": "ended"}
