"""The exit status and the outcome say what became of the payload: design §5."""

from __future__ import annotations

import json
import signal

import pytest

SH = ("/bin/sh", "-c")
FIELDS = {
    *("status", "exit_code", "signal", "error", "wall_seconds", "cpu_user_seconds", "cpu_system_seconds"),
    *("peak_memory_bytes", "oom_kills", "pids_peak", "limits_hit", "enforced"),
    *("denied", "calls", "calls_lost"),
}
ENDING = (
    "HUP",
    "INT",
    "QUIT",
    "ILL",
    "ABRT",
    "FPE",
    "KILL",
    "SEGV",
    "PIPE",
    "ALRM",
    "TERM",
    "USR1",
    "USR2",
    "SYS",
)


def test_every_exit_code_comes_through(pyjail):
    came = {code: pyjail.run("run", "--", *SH, f"exit {code}").returncode for code in range(256)}
    assert {code: status for code, status in came.items() if status != code} == {}


def test_outcome_of_an_exit(pyjail):
    r = pyjail.run("run", "--", *SH, "exit 7")
    assert r.returncode == 7
    assert set(r.outcome) == FIELDS
    assert (r.outcome["status"], r.outcome["exit_code"], r.outcome["signal"]) == ("exited", 7, None)
    assert r.outcome["error"] is None
    assert r.outcome["wall_seconds"] > 0


@pytest.mark.parametrize("name", ENDING)
def test_death_by_signal(pyjail, name):
    number = signal.Signals["SIG" + name].value
    r = pyjail.run("run", "--", *SH, f"kill -{number} $$; exit 1")
    assert r.returncode == 128 + number
    assert (r.outcome["status"], r.outcome["exit_code"], r.outcome["signal"]) == ("signaled", None, number)


def test_a_payload_that_kills_itself_is_not_out_of_memory(pyjail):
    r = pyjail.run("run", "--", *SH, "kill -9 $$")
    assert (r.returncode, r.outcome["status"]) == (137, "signaled")
    assert not r.outcome["oom_kills"]


def test_time_limit(pyjail):
    r = pyjail.run("run", "--timeout", "0.2", "--", "/bin/sleep", "1000")
    assert (r.returncode, r.outcome["status"]) == (124, "timed-out")


def test_a_status_of_124_is_no_time_limit(pyjail):
    r = pyjail.run("run", "--timeout", "60", "--", *SH, "exit 124")
    assert (r.returncode, r.outcome["status"], r.outcome["exit_code"]) == (124, "exited", 124)


def test_a_payload_that_ends_well_within_grace_is_still_timed_out(pyjail):
    r = pyjail.run("run", "--timeout", "0.2", "--", *SH, "trap 'exit 0' TERM; sleep 1000 & wait")
    assert r.outcome["status"] == "timed-out"
    assert r.returncode == 124


def test_processor_time_limit(pyjail):
    r = pyjail.run("run", "--cpu-time", "1", "--allow-weaker", "cpu-time", "--", *SH, "while :; do :; done")
    assert (r.returncode, r.outcome["status"]) == (124, "cpu-exceeded")
    used = r.outcome["cpu_user_seconds"] + r.outcome["cpu_system_seconds"]
    # A cgroup counts exactly; RLIMIT_CPU counts clock ticks, which run ahead on a busy machine.
    assert used >= (1 if r.outcome["enforced"]["cpu_time"].startswith("cgroup") else 0.5)


def test_not_found(pyjail):
    r = pyjail.run("run", "--", "/usr/bin/no-such-program")
    assert r.returncode == 127
    assert (r.outcome["status"], r.outcome["exit_code"]) == ("exited", 127)
    assert (r.outcome["error"]["step"], r.outcome["error"]["errno_name"]) == ("exec", "ENOENT")
    assert b"/usr/bin/no-such-program" in r.stderr


def test_not_found_in_path(pyjail):
    r = pyjail.run("run", "--", "no-such-program")
    assert r.returncode == 127
    assert b"no-such-program" in r.stderr


def test_a_missing_interpreter_is_not_found(pyjail, place):
    script = place / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    r = pyjail.run("run", "--ro-bind", f"{script}:/script", "--", "/script")
    assert r.returncode == 127


@pytest.mark.parametrize("path", ["/etc/passwd", "/usr"])
def test_not_executable(pyjail, path):
    r = pyjail.run("run", "--", path)
    assert r.returncode == 126
    assert (r.outcome["status"], r.outcome["error"]["step"]) == ("exited", "exec")
    assert path.encode() in r.stderr


def test_no_known_executable_format(pyjail, place):
    file = place / "noise"
    file.write_bytes(b"\x00\x01\x02 no program")
    file.chmod(0o755)
    assert pyjail.run("run", "--ro-bind", f"{file}:/noise", "--", "/noise").returncode == 126


def test_setup_failed(pyjail, place):
    r = pyjail.run("run", "--ro-bind", f"{place}/absent:/x", "--", *SH, "echo ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"absent" in r.stderr


def test_a_set_up_that_fails_in_the_jail_says_so_in_the_outcome(pyjail):
    r = pyjail.run("run", "--cwd", "/no/such/folder", "--", *SH, "echo ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert r.outcome["status"] == "setup-failed"
    assert r.outcome["exit_code"] is None
    error = r.outcome["error"]
    assert set(error) == {"step", "object", "errno", "errno_name", "line", "message", "hint"}
    assert (error["errno_name"], error["object"]) == ("ENOENT", "/no/such/folder")
    assert b"/no/such/folder" in r.stderr


def test_outcome_file(pyjail, place):
    file = place / "outcome.json"
    assert pyjail.run("run", "--outcome", file, "--", *SH, "exit 3").returncode == 3
    lines = file.read_text().splitlines()
    assert len(lines) == 1
    assert set(json.loads(lines[0])) == FIELDS


def test_outcome_file_is_of_the_last_run(pyjail, place):
    file = place / "outcome.json"
    for code in (3, 4):
        pyjail.run("run", "--outcome", file, "--", *SH, f"exit {code}")
    assert json.loads(file.read_text())["exit_code"] == 4


def test_outcome_names_what_holds_each_limit(pyjail):
    r = pyjail.run("run", "--nofile", "64", "--timeout", "60", "--", "/bin/true")
    assert r.outcome["enforced"]["nofile"] == "rlimit"
    assert r.outcome["enforced"]["timeout"] == "supervisor"


def test_the_payload_cannot_write_the_outcome(pyjail):
    forged = '{"status":"exited","exit_code":0}'
    r = pyjail.run(
        "run", "--", *SH, f"for fd in 3 4 5 6 7 8 9; do echo '{forged}' >&$fd; done 2>/dev/null; exit 9"
    )
    assert (r.returncode, r.outcome["exit_code"]) == (9, 9)


def test_processor_time_is_measured(pyjail):
    r = pyjail.run("run", "--", *SH, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
    assert r.returncode == 0
    assert r.outcome["cpu_user_seconds"] > 0.01
