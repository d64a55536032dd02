"""Jails that are made ahead of their command: the same as others to whoever uses them, or not used."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jailed.test_fault_injection import steps
from support.launcher import Launcher
from support.processes import cgroup_folders
from support.scripts import Scripts
from support.serving import SERVING


def test_a_plan_that_is_used_again_gets_one(scripts: Scripts) -> None:
    found = scripts.answer(SERVING + """
server = serving()  # the first use
serving()
while not children(server):
    os.sched_yield()
first = run_ahead(["/bin/sh", "-c", "exit 3"])
answer(ahead=first[1], code=first[0].exit_code)
""")
    assert found == {"ahead": True, "code": 3}


def test_as_many_as_asked_for(scripts: Scripts) -> None:
    found = scripts.answer(SERVING + """
server = serving()
counts = []
for wanted in (3, 1, 0, 2, None):
    said = keep(wanted)
    while len(children(server)) > (wanted or 0):
        os.sched_yield()
    counts.append([said, len(children(server))])
answer(counts=counts)
""")
    assert found == {"counts": [[3, 3], [1, 1], [0, 0], [2, 2], [0, 0]]}


def test_an_unused_one_goes_away(scripts: Scripts) -> None:
    assert scripts.answer(SERVING + """
server = serving()
serving()
while not children(server):
    os.sched_yield()
pid = only_child(server)
answer(gone=ended(pid), left=len(children(server)))
""") == {"gone": True, "left": 0}


def test_kept_ones_are_kept_by_the_next_serving_jailer(scripts: Scripts) -> None:
    assert scripts.answer(SERVING + """
server = serving()
keep(2)
os.kill(server, signal.SIGKILL)
ended(server)
server = serving(Jail(hostname="other"))
while len(children(server)) < 2:
    os.sched_yield()
answer(count=len(children(server)))
""") == {"count": 2}


LOOK = (Path(__file__).parents[1] / "support" / "look.py").read_text()


@pytest.mark.parametrize(
    "box",
    [
        "Jail()",
        "Jail(seccomp='off', hostname='x', env=(('A', 'b'),), cwd='/')",
        "Jail().with_bind(sys.argv[1], '/data', writable=True).with_limits(timeout=60, nofile=50)",
        "Jail(network='host')",
        "Jail(pass_fds=(5, 900))",
    ],
)
def test_a_program_finds_the_same(scripts: Scripts, place: Path, box: str) -> None:
    """Everything that it can look at, but for what differs from any run to the next."""
    found = scripts.answer(SERVING + f"""
code = {LOOK!r}
source = os.open("/etc/hostname", os.O_RDONLY)
os.dup2(source, 5), os.dup2(source, 900)
box = {box}
server = serving()
looks, aheads = [], []
for count in (0, 1):
    keep(count, box)
    done, ahead, streams = run_ahead(["/usr/bin/python3", "-ISc", code, "a", "b c"], box, stdin=PIPE,
                                     stdout=PIPE, stderr=STDOUT, env={{"OWN": "1", "HOME": "/own"}})
    looks.append(streams[0].decode()), aheads.append(ahead)
answer(looks=looks, aheads=aheads, server=server)
""", str(place))
    assert found["aheads"] == [False, True]
    of_the_run = r"(?<=pyjail-)\d+-[0-9a-f]+|(?<=[ug]id=)\d{6,}"  # its cgroup's name, its id on the host
    first, second = (json.loads(re.sub(of_the_run, "X", text)) for text in found["looks"])
    for name in first:
        assert first[name] == second[name], name


OUTCOMES = """
words = {"exit": ["/bin/sh", "-c", "exit 3"], "signal": ["/bin/sh", "-c", "kill -9 $$"], "none": ["/no/such"],
         "not": ["/etc/hosts"], "name": ["no-such"], "oom": ["/usr/bin/python3", "-c", "bytearray(1 << 30)"],
         "forks": ["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done"],
         "late": ["/bin/sleep", "1000"], "full": ["/bin/sh", "-c", "cat /dev/zero >/tmp/x"]}
box = Jail(allow_weaker=frozenset(() if os.geteuid() == 0 else ("memory", "pids")))
box = box.with_limits(timeout="1500ms", memory="40M", pids=5, tmp_size="1M")
"""


def test_the_outcome_is_the_same(scripts: Scripts) -> None:
    found = scripts.answer(SERVING + OUTCOMES + """
server = serving(box)
told, aheads = {}, []
for count in (0, 1):
    for name, command in words.items():
        keep(count, box)
        done, ahead, _ = run_ahead(command, box, stdout=DEVNULL, stderr=DEVNULL)
        error = done.error and [done.error.step, done.error.errno, done.error.message, done.error.hint]
        told.setdefault(name, []).append([done.status, done.exit_code, done.signal, done.returncode, error,
             done.limits_hit, done.oom_kills, done.enforced, done.pids_peak, done.peak_memory_bytes is None])
        aheads.append(ahead)
answer(told=told, aheads=aheads)
""")
    assert found["aheads"] == [False] * 9 + [True] * 9
    for name, (one, other) in found["told"].items():
        assert one == other, name
    assert found["told"]["late"][0][0] == "timed-out"
    assert found["told"]["exit"][0][1] == 3


def test_clocks_begin_with_the_command(scripts: Scripts) -> None:
    """One that has stood for longer than its time limit has all of it still."""
    assert scripts.answer(SERVING + """
box = Jail().with_limits(timeout="500ms")
server = serving(box)
keep(1, box)
time.sleep(0.6)  # not synchronisation: the time that must not count
done, ahead, _ = run_ahead(["/bin/true"], box)
answer(ahead=ahead, status=done.status, short=done.wall_seconds < 0.5)
""") == {"ahead": True, "status": "exited", "short": True}


def test_signals_from_before_the_command_are_not_its_own(scripts: Scripts) -> None:
    """The terminal sends its keys to all processes of the foreground, those that stand ready too."""
    assert scripts.answer(SERVING + """
server = serving()
keep(1)
for pid in children(server):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1):
        os.kill(pid, number)
done, ahead, _ = run_ahead(["/bin/sh", "-c", "exit 3"])
answer(ahead=ahead, code=done.exit_code)
""") == {"ahead": True, "code": 3}


def test_kill_signals_and_streams(scripts: Scripts) -> None:
    assert scripts.answer(SERVING + """
server = serving()
seen = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL):
    keep(1)
    standing = children(server)
    with jail.start(["/bin/sh", "-c", "echo ready; exec sleep 1000"], stdout=PIPE) as process:
        process.stdout.readline()
        process.send_signal(number)
        done = process.wait()
    seen.append([process.pid in standing, done.status, done.signal])
answer(seen=seen)
""") == {"seen": [[True, "signaled", 15], [True, "signaled", 10], [True, "killed", None]]}


@pytest.mark.parametrize(
    "box",
    [
        "Jail(audit='refused')",
        "Jail().with_limits(max_output='1M')",
        "Jail().with_limits(idle_timeout='10s')",
        "Jail().with_bind(sys.argv[1], '/data').with_tmpfs('/data/below', '1M')",
        "Jail().with_tmpfs('/bin/below', '1M')",
    ],
)
def test_where_there_can_be_none_jails_are_made_as_ever(scripts: Scripts, place: Path, box: str) -> None:
    (place / "below").mkdir()
    found = scripts.answer(SERVING + f"""
box = {box}
said = keep(1, box)
codes = [jail.run(["/bin/sh", "-c", "exit 3"], jail=Jail()).exit_code for _ in range(3)]
try:
    codes += [jail.run(["/bin/sh", "-c", "exit 3"], jail=box).exit_code for _ in range(2)]
except jail.LaunchError as error:
    codes += [3 if error.step in ("node", "mount") else error.step] * 2
answer(said=said, codes=codes)
""", str(place))
    assert found == {"said": 0, "codes": [3] * 5}


@pytest.mark.parametrize("call", ["close", "fstat", "recvmsg", "write"])
def test_policies_may_ask_about_descriptors(scripts: Scripts, place: Path, call: str) -> None:
    """Those with which the payload takes its command are none of the program's."""
    policy = place / "policy.toml"
    policy.write_text(f"""
default = "allow"
[[rule]]
calls = ["{call}"]
action = "allow"
when = [[{{ arg = 0, at-most = 3 }}]]
otherwise = "kill"
""")
    found = scripts.answer(SERVING + """
box = Jail(seccomp=sys.argv[1])
server = serving(box)
told = []
for wanted in (0, 1):
    ready = keep(wanted, box)
    done, ahead, (out, _) = run_ahead(["/bin/echo", "ran"], box, stdout=PIPE)
    told.append([ahead == bool(ready), done.status, done.exit_code, out.decode()])
answer(told=told)
""", str(policy))
    assert found["told"] == [[True, "exited", 0, "ran\n"]] * 2


def test_two_callers_do_not_meet(scripts: Scripts) -> None:
    first, line = scripts.started(SERVING + """
server = serving()
keep(1)
answer(pids=[server, *children(server)])
sys.stdin.read()
""")
    with first:
        theirs = json.loads(line)["pids"]
        found = scripts.answer(SERVING + """
server = serving()
keep(1)
done, ahead, _ = run_ahead(["/bin/sh", "-c", "exit 3"])
answer(pids=[server, done.exit_code], ahead=ahead)
""")
        assert found["pids"][0] not in theirs
        assert found["pids"][1:] == [3]
        assert found["ahead"]
        assert Path(f"/proc/{theirs[1]}").exists()  # the first's own still stands
        assert first.stdin is not None
        first.stdin.close()
        first.wait(60)


def test_each_has_an_id_and_a_cgroup_of_its_own_and_gives_them_back(root_pyjail: Launcher) -> None:
    before = cgroup_folders()
    found = Scripts(root_pyjail).answer(SERVING + """
server = serving()
keep(3)
pids = [*children(server)]
inits = [init for pid in pids for init in children(pid)]
uids = {os.stat(f"/proc/{payload}").st_uid for init in inits for payload in children(init)}
with jail.start(["/bin/cat"], stdin=PIPE) as process:
    ((init,),) = [children(process.pid)]
    uids |= {os.stat(f"/proc/{payload}").st_uid for payload in children(init)}
    keep(0)
    gone = [ended(pid) for pid in pids if pid != process.pid]
answer(uids=len(uids), none=0 in uids, gone=gone, pids=pids)
""")
    assert found["uids"] >= 3
    assert not found["none"]
    assert all(found["gone"])
    ours = {f"pyjail-{pid}-" for pid in found["pids"]}
    assert not {folder for folder in cgroup_folders() - before if any(name in folder for name in ours)}


def test_one_that_cannot_pass_the_descriptors_on_has_no_outcome_for_them(ordinary_pyjail: Launcher) -> None:
    """The user has more of them under way, in messages that nobody has received, than its limit allows."""
    found = Scripts(ordinary_pyjail).answer(SERVING + """
import resource
server = serving()
keep(1)
resource.prlimit(only_child(server), resource.RLIMIT_NOFILE, (64, 64))
ends = socket.socketpair()
socket.send_fds(ends[0], [b"x"], [0] * 100)
read, write = os.pipe()
try:
    jail.run(["/bin/echo", "ran"], stdout=write, stderr=write)
    failed = False
except jail.LaunchError:
    failed = True
os.close(write)
answer(failed=failed, told=os.read(read, 1 << 16).decode())
""")
    assert found["failed"]
    assert found["told"].startswith("pyjail: cannot take over the command: "), found
    assert "{" not in found["told"], "the outcome is not for the command's stderr"


def test_a_standby_that_dies_costs_no_run(scripts: Scripts) -> None:
    assert scripts.answer(SERVING + """
server = serving()
codes = []
for number in (signal.SIGKILL, signal.SIGSTOP):
    keep(1)
    pid = only_child(server)
    os.kill(pid, number)
    if number == signal.SIGKILL:
        ended(pid)
        codes.append(jail.run(["/bin/sh", "-c", "exit 3"]).exit_code)
        continue
    found = []
    thread = threading.Thread(target=lambda: found.append(jail.run(["/bin/sh", "-c", "exit 4"]).exit_code))
    thread.start()
    os.kill(pid, signal.SIGKILL)  # with the request unread, or before it came
    thread.join()
    codes += found
answer(codes=codes)
""") == {"codes": [3, 4]}


def test_a_step_that_fails_ahead_fails_the_run_or_nothing(
    scripts: Scripts, faulty: Path, place: Path
) -> None:
    """With each step failing in turn, in every jailer: no command runs, and the error is the step's own."""
    code = SERVING + """
import jail.launch
jail.launch.JAILER = sys.argv[1]
box = Jail().with_bind(sys.argv[2], "/data", writable=True)
marker = sys.argv[2] + "/marker"
wrong, seen = {}, []
for step in sys.argv[3:]:
    spawn.launcher.close()
    os.environ["PYJAIL_FAULT_STEP"] = step
    told = []
    for count in (1, 0):
        keep(count, box)
        try:
            done = jail.run(["/usr/bin/touch", "/data/marker"], jail=box, stderr=DEVNULL)
            told.append(done.error.step if done.error else done.status)
        except jail.LaunchError as error:
            told.append(error.step)
        if os.path.exists(marker):
            os.unlink(marker)
            told[-1] += " RAN"
    if told != [step, step]:
        wrong[step] = told
answer(wrong=wrong)
"""
    found: dict[str, Any] = scripts.answer(code, str(faulty), str(place), *steps(faulty))
    wrong = found["wrong"]
    # A step of its own, for which there is another jail as long as the request is not taken over.
    assert wrong.pop("handover") == ["exited RAN", "exited RAN"]
    # Nothing can be told, as it is the place of telling that fails.
    assert wrong.pop("outcome") == ["jailer", "jailer"]
    # All others are steps that neither of the two comes to.
    assert all(told == ["exited RAN", "exited RAN"] for told in wrong.values()), wrong
    reached = set(steps(faulty)) - set(wrong)
    assert {"clone", "mount", "seccomp", "exec", "cwd", "command", "life-fd", "stdio", "init"} <= reached
