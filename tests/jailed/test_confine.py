# ruff: noqa: E501  the scripts are texts
"""`jail.confine`: a process that has confined itself, as root and as an ordinary user."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest
from jailed.confined import run_confined

NET_BIND_SERVICE, SYS_ADMIN = 10, 21


@pytest.fixture
def confined(as_user, require):
    require("seccomp")
    return lambda code, *arguments, **options: run_confined(as_user, code, *arguments, **options)


@pytest.fixture
def files(place, as_user):
    """Folders `ro`, `rw` and `out`, each with a file of the user's own."""
    for name in ("ro", "rw", "out"):
        folder = place / name
        folder.mkdir()
        as_user.owns(folder)
        (folder / "file").write_text(name)
        as_user.owns(folder / "file")
    return place


# ---------------------------------------------------------------- what is held


def test_without_arguments_privileges_are_given_up(confined):
    found = confined("""
before = status(); confine()
answer(before=before, now=status(), child=in_child(lambda: status()["NoNewPrivs"]),
       chroot=attempt(os.chroot, "/"), chown=attempt(os.chown, "/proc/self/status", 1, 1))
""")
    now = found["now"]
    assert (now["NoNewPrivs"], found["child"]) == (1, "1")
    assert now["CapPrm"] == now["CapEff"] == now["CapInh"] == now["CapAmb"] == 0
    assert now["Seccomp"] == found["before"]["Seccomp"]
    assert found["chroot"] == "EPERM"


def test_root_keeps_nothing_in_the_bounding_set(root_user):
    found = run_confined(root_user, "confine(); answer(**status())")
    assert found["CapBnd"] == 0


def test_a_kept_capability_stays_and_no_program_executed_gets_it(root_user):
    found = run_confined(
        root_user,
        """
import socket, subprocess
confine(capabilities=["CAP_NET_BIND_SERVICE"])
with socket.socket() as one: bound = attempt(one.bind, ("127.0.0.1", 77))
program = subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True).stdout
answer(bound=bound, program=program, chroot=attempt(os.chroot, "/"), **status())
""",
    )
    kept = 1 << NET_BIND_SERVICE
    assert found["CapPrm"] == found["CapEff"] == found["CapBnd"] == kept
    assert found["CapInh"] == found["CapAmb"] == 0
    assert found["bound"] in ("ok", "EADDRINUSE")
    assert found["chroot"] == "EPERM"
    assert "CapPrm:\t0000000000000000\n" in found["program"]


def test_an_ambient_capability_is_dropped_too(root_user):
    found = run_confined(
        root_user,
        """
import prctl
prctl.set_caps((prctl.CAP_NET_RAW, prctl.CAP_INHERITABLE, True))
raised = libc.prctl(47, 2, prctl.CAP_NET_RAW, 0, 0)  # PR_CAP_AMBIENT_RAISE
before = status(); confine(); answer(raised=raised, before=before["CapAmb"], now=status()["CapAmb"])
""",
    )
    assert found == {"raised": 0, "before": 1 << 13, "now": 0}


def test_none_leaves_the_capabilities_alone(confined):
    found = confined("""
before = status(); confine(capabilities=None, no_new_privs=False); answer(before=before, now=status())
""")
    assert found["now"] == found["before"]


def test_a_policy_holds_here_and_in_children(confined, place):
    found = confined(
        """
import sys
confine(policy=NO_MKDIR)
answer(here=attempt(os.mkdir, sys.argv[1]), child=in_child(attempt, os.mkdir, sys.argv[1]),
       read=read("/proc/self/comm")[:6], **status())
""",
        str(place / "new"),
    )
    assert (found["here"], found["child"]) == ("EXDEV", "EXDEV")
    assert (found["Seccomp"], found["NoNewPrivs"]) == (2, 1)
    assert found["read"] == "python"
    assert not (place / "new").exists()


def test_a_policy_may_kill(confined):
    code = """
policy = BASE.deny("getppid", action="kill")
confine(policy=Program("deadly", policy.compile())); os.getppid(); answer(alive=True)
"""
    assert confined(code, status=-signal.SIGSYS) == {}


def test_a_profile_by_name_and_a_policy_by_path(root_user, place_of_root):
    file = place_of_root / "mine.toml"
    file.write_text('base = "default"\n[[rule]]\ncalls = ["mkdir", "mkdirat"]\naction = "EXDEV"\n')
    code = "import sys; confine(policy=sys.argv[1]); answer(made=attempt(os.mkdir, '/proc/x'), **status())"
    assert run_confined(root_user, code, "strict")["Seccomp"] == 2
    assert run_confined(root_user, code, str(file))["made"] == "EXDEV"


def test_landlock_holds_what_is_not_named(confined, files, with_landlock):
    found = confined(
        """
import sys; top = sys.argv[1]
held = open(top + "/out/file")
confine(landlock={top + "/ro": "ro", top + "/rw": "rw", "/proc": "ro"})
w = os.O_WRONLY
def rename(a, b): os.rename(f"{top}/{a}", f"{top}/{b}")
answer(
    ro_read=read(top + "/ro/file"), ro_write=attempt(os.open, top + "/ro/file", w),
    ro_list=attempt(os.listdir, top + "/ro"),
    ro_truncate=attempt(os.truncate, top + "/ro/file", 0),
    ro_open_truncate=attempt(os.open, top + "/ro/file", os.O_RDONLY | os.O_TRUNC),
    ro_new=attempt(os.open, top + "/ro/new", w | os.O_CREAT), ro_unlink=attempt(os.unlink, top + "/ro/file"),
    rw_read=read(top + "/rw/file"), rw_write=attempt(os.open, top + "/rw/file", w | os.O_TRUNC),
    rw_new=attempt(os.mkdir, top + "/rw/new"),
    out_read=read(top + "/out/file"), out_list=attempt(os.listdir, top + "/out"),
    out_move=attempt(rename, "rw/file", "out/moved"), out_link=attempt(os.link, top + "/ro/file", top + "/rw/link"),
    through=attempt(os.open, f"/proc/self/fd/{held.fileno()}", os.O_RDONLY), held=held.read(),
    program=in_child(attempt, os.execv, "/bin/true", ["true"]),
)
""",
        str(files),
    )
    assert {name: value for name, value in found.items() if value == "ok"}.keys() == {
        "ro_list",
        "rw_write",
        "rw_new",
    }
    assert (found["ro_read"], found["rw_read"], found["held"]) == ("ro", "rw", "out")
    assert found["out_move"] in ("EACCES", "EXDEV")
    assert found["out_link"] in ("EACCES", "EXDEV")
    others = {
        value
        for name, value in found.items()
        if not name.endswith(("read", "move", "link", "held", "list", "new"))
    }
    assert others == {"EACCES", "ok"}
    assert (found["ro_new"], found["out_read"], found["out_list"]) == ("EACCES", "EACCES", "EACCES")
    assert (files / "ro" / "file").read_text() == "ro"


def test_landlock_of_nothing_leaves_nothing(confined, with_landlock):
    found = confined(
        "confine(landlock={}); answer(list=attempt(os.listdir, '/'), read=attempt(open, '/etc/passwd'))"
    )
    assert found == {"list": "EACCES", "read": "EACCES"}


def test_limits_hold(confined):
    found = confined("""
import resource
confine(limits=Limits(nofile=20, core=0, file_size=5, rlimits=(("cpu", 200, 300), ("locks", 7, 8))))
def fill():
    for _ in range(40): os.open("/dev/null", os.O_RDONLY)
answer(fill=attempt(fill), cpu=resource.getrlimit(resource.RLIMIT_CPU), locks=resource.getrlimit(10), core=resource.getrlimit(resource.RLIMIT_CORE),
       raised=attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (21, 21)))
""")
    assert found == {"fill": "EMFILE", "cpu": [200, 300], "locks": [7, 8], "core": [0, 0], "raised": "ValueError"}


def test_no_step_needs_a_descriptor_that_the_limits_refuse(confined):
    assert confined("confine(limits=Limits(nofile=0), policy=DEFAULT); answer(status=attempt(os.open, '/', 0))") == {
        "status": "EMFILE"
    }


def test_it_can_be_done_again_and_only_adds(confined, files, with_landlock):
    found = confined(
        """
import sys; top = sys.argv[1]; SECOND = NO_MKDIR.compile()
NO_RMDIR = BASE.allow("seccomp", "landlock_restrict_self").deny("rmdir", action="EMLINK")
confine(landlock={top: "rw", "/proc": "ro"}, policy=Program("first", NO_RMDIR.compile()))
confine(landlock={top + "/ro": "ro", top + "/rw": "rw", "/etc": "rw"}, policy=Program("second", SECOND))
answer(ro=read(top + "/ro/file"), write=attempt(os.open, top + "/ro/file", os.O_WRONLY), etc=read("/etc/passwd"),
       mkdir=attempt(os.mkdir, top + "/rw/new"), rmdir=attempt(os.rmdir, top + "/rw/new"),
       rw=attempt(os.open, top + "/rw/file", os.O_WRONLY), out=read(top + "/out/file"))
""",
        str(files),
    )
    assert found == {
        "ro": "ro", "write": "EACCES", "etc": "EACCES", "mkdir": "EXDEV", "rmdir": "EMLINK", "rw": "ok", "out": "EACCES",
    }  # fmt: skip


# ---------------------------------------------------------------- threads


def test_a_policy_reaches_threads_that_run_already(confined, as_user, place):
    found = confined(
        """
import sys
ask = beside(lambda: (attempt(os.mkdir, sys.argv[1]), status()))
confine(policy=NO_MKDIR, capabilities=None if os.geteuid() == 0 else ())
made, other = ask(); answer(made=made, **other)
""",
        str(place / "new"),
    )
    assert (found["made"], found["NoNewPrivs"], found["Seccomp"]) == ("EXDEV", 1, 2)


CANNOT_SPREAD = {
    "capabilities": ("root", "confine(policy=DEFAULT)"),
    "no_new_privs": ("both", "confine(capabilities=None)"),
}


@pytest.mark.parametrize("feature", CANNOT_SPREAD)
def test_what_cannot_reach_another_thread_is_refused_before_anything_is_done(confined, as_user, feature):
    who, call = CANNOT_SPREAD[feature]
    if who == "root" and not as_user.is_root:
        found = confined(f"ask = beside(status); {call}; answer(**ask())")  # nothing to drop in any thread
        assert (found["Seccomp"], found["NoNewPrivs"]) == (2, 1)
        return
    found = confined(f"""
ask = beside(status); before = status()
try: {call}
except UnsupportedError as error: answer(feature=error.feature, remedy=error.remedy, same=before == status() == ask())
""")
    assert found["feature"] == feature
    assert "threads" in found["remedy"]
    assert found["same"]


def test_landlock_reaches_every_thread_or_is_refused(confined, with_landlock):
    found = confined("""
from jail.landlock import TSYNC_ABI, abi
ask = beside(lambda: (attempt(os.listdir, "/"), status())); before = status()
try: confine(landlock={}, capabilities=None); refused = None
except UnsupportedError as error: refused = error.feature
answer(covers=abi() >= TSYNC_ABI, refused=refused, here=attempt(os.listdir, "/"), other=ask()[0])
""")
    if found["covers"]:
        assert (found["refused"], found["here"], found["other"]) == (None, "EACCES", "EACCES")
    else:
        assert (found["refused"], found["here"], found["other"]) == ("landlock", "ok", "ok")


def test_a_thread_with_filters_of_its_own_is_named(confined):
    found = confined("""
import prctl
def filter_alone():
    prctl.set_no_new_privs(1); install(DEFAULT, all_threads=False); return threading.get_native_id()
stop = threading.Event(); ids = []; ready = threading.Event()
def other(): ids.append(filter_alone()); ready.set(); stop.wait()
thread = threading.Thread(target=other); thread.start(); ready.wait()
before = status()
try: confine(policy=NO_MKDIR, capabilities=None); refused = ""
except UnsupportedError as error: refused = str(error)
prctl.set_no_new_privs(1)
try: install(NO_MKDIR.compile())
except ThreadError as error: thread_id = error.thread
stop.set(); thread.join()
answer(refused=refused, id=ids[0], thread=thread_id, before=before, now=status())
""")
    assert f"thread {found['id']})" in found["refused"]
    assert found["thread"] == found["id"]
    assert found["now"] == {**found["before"], "NoNewPrivs": 1}


# ---------------------------------------------------------------- refusals and failures


def test_without_no_new_privs_a_filter_needs_a_capability(confined, as_user):
    found = confined("""
before = status()
try: confine(policy=DEFAULT, no_new_privs=False)
except SpecError as error: answer(field=error.field, same=before == status())
""")
    assert found == {"field": "no_new_privs", "same": True}
    if as_user.is_root:
        kept = confined(
            "confine(policy=DEFAULT, no_new_privs=False, capabilities=['sys_admin']); answer(**status())"
        )
        assert (kept["NoNewPrivs"], kept["Seccomp"], kept["CapEff"]) == (0, 2, 1 << SYS_ADMIN)


def test_a_capability_that_is_not_there_cannot_be_kept(ordinary_user):
    found = run_confined(
        ordinary_user,
        """
before = status()
try: confine(capabilities=["net_raw"])
except UnsupportedError as error: answer(feature=error.feature, same=before == status())
""",
    )
    assert found == {"feature": "capabilities: net_raw", "same": True}


def test_the_bounding_set_must_be_reduced_or_no_new_privs_set(ordinary_user):
    found = run_confined(
        ordinary_user,
        """
before = status()
try: confine(no_new_privs=False)
except UnsupportedError as error: answer(feature=error.feature, same=before == status())
""",
    )
    assert found == {"feature": "capabilities", "same": True}


def test_a_limit_above_the_hard_one_needs_a_capability(confined):
    found = confined("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); may = bool(status()["CapEff"] >> 24 & 1)  # sys_resource
try: confine(limits=Limits(nofile=200)); refused = None
except UnsupportedError as error: refused = error.feature
answer(may=may, refused=refused, now=resource.getrlimit(resource.RLIMIT_NOFILE), nnp=status()["NoNewPrivs"])
""")
    if found["may"]:
        assert found == {"may": True, "refused": None, "now": [200, 200], "nnp": 1}
    else:
        assert found == {"may": False, "refused": "limits: nofile", "now": [100, 100], "nnp": 0}


HALF_WAY = {  # the call that an outer filter refuses: (the step that fails, what is in force then)
    "prctl": ("no_new_privs", ["limits", "capabilities"]),
    "landlock_restrict_self": ("landlock", ["limits", "capabilities", "no_new_privs"]),
    "prlimit64": ("limits", []),
    "capset": ("capabilities", ["limits"]),
}


@pytest.mark.parametrize("call", HALF_WAY)
def test_a_step_that_fails_says_what_is_in_force(ordinary_user, with_landlock, call):
    found = run_confined(
        ordinary_user,
        f"""
import prctl
prctl.set_no_new_privs(1)
changes = ((seccomp.Condition(2, 0, op="!=", mask=2**64 - 1),),) if "{call}" == "prlimit64" else ()
rules = [seccomp.Rule(("{call}",), "EXDEV", when=changes, otherwise="allow" if changes else None)]
install(Policy(tuple(rules), default="allow").compile())
try: confine(landlock={{"/": "rw"}}, policy=NO_MKDIR, limits=Limits(core=0)); step, done, number, text = None, [], 0, ""
except ConfineError as error: step, done, number, text = error.step, error.done, error.errno, str(error)
answer(step=step, done=done, number=number, text=text, seccomp=status()["Seccomp_filters"])
""",
    )
    step, done = HALF_WAY[call]
    assert (found["step"], found["done"], found["number"]) == (step, done, errno.EXDEV)
    assert all(word in found["text"] for word in [step, *done, "should end"])
    assert found["seccomp"] == 1


def test_a_filter_that_seccomp_refuses_comes_last(confined):
    found = confined("""
import struct
bad = Program("bad", struct.pack("<HBBI", 0x20, 0, 0, 4))  # a load, and no return
try: confine(policy=bad)
except ConfineError as error: answer(step=error.step, done=error.done, number=error.errno, **status())
""")
    assert (found["step"], found["number"], found["NoNewPrivs"], found["Seccomp"]) == ("seccomp", 22, 1, 0)
    assert found["done"] == ["capabilities", "no_new_privs"]


def test_the_page_s_example_ends_as_it_says(root_user, with_landlock):
    page = (Path(__file__).parents[2] / "docs" / "confine.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    code = f"""
try: exec({example!r})
except PermissionError as error: answer(file=error.filename, usr=attempt(os.listdir, "/usr"), **status())
"""
    found = run_confined(root_user, code)
    assert (found["file"], found["usr"]) == ("/etc/passwd", "ok")
    assert (found["Seccomp"], found["NoNewPrivs"], found["CapPrm"]) == (2, 1, 0)
