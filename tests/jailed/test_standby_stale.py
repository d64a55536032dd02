"""What stands ready has a run only as long as a jail that is made now would be the same: its plan, the
sources of its binds, the mounts of the host, the folder to start in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.launcher import Launcher
from support.scripts import Scripts
from support.serving import SERVING


def test_a_plan_that_is_outdated_has_no_run(scripts: Scripts, place: Path) -> None:
    """Neither a jail that stands ready nor the serving jailer takes a plan whose policy is another by now."""
    policy, rule = place / "policy.toml", 'base = "default"\n[[rule]]\naction = "%s"\ncalls = ["getpgid"]\n'
    policy.write_text(rule % "EPERM")
    scripts.launcher.user.owns(policy)
    found = scripts.answer(SERVING + f"""
from jail.sources import Sources
Sources.is_old = lambda self, known: True
policy, rule = {str(policy)!r}, {rule!r}
box = Jail(seccomp=policy)
code = "import os\\ntry: os.getpgid(0)\\nexcept OSError as error: print(error.errno)"
def run():
    return run_ahead(["/usr/bin/python3", "-ISc", code], box, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
server = serving()
seen = []
for wanted, name in ((0, "EPERM"), (1, "ENOSPC"), (1, "EROFS"), (0, "ENOSPC")):
    keep(wanted, box)  # of the plan before
    open(policy, "w").write(rule % name)
    seen.append([run()[2][0].decode().strip() for _ in range(2)])
answer(seen=seen, same=serving() == server)
""")
    assert found == {"seen": [["1", "1"], ["28", "28"], ["30", "30"], ["28", "28"]], "same": True}


def test_a_caller_that_thinks_again_after_it_has_handed_a_command_over_has_no_run(
    scripts: Scripts, place: Path
) -> None:
    """Nothing runs, and what the command was to have is let go of."""
    found = scripts.answer(SERVING + f"""
box = Jail().with_bind({str(place)!r}, "/data", writable=True)
server = serving()
ready = keep(1, box)
standing = children(server)
plan, ends = plan_text(box), os.pipe()
link = os.readlink(f"/proc/self/fd/{{ends[1]}}")

def outputs():
    return [os.readlink(f"/proc/{{payload}}/fd/1")
            for pid in standing for init in children(pid) for payload in children(init)]

def look(_now):
    while os.geteuid() == 0 and link not in outputs():  # nobody else may see it
        pass
    return False

words = ["/usr/bin/touch", "/data/marker"]
try:
    spawn.launcher.start(plan, words, {{0: spawn.NOTHING, 1: ends[1], 2: spawn.NOTHING}}, {{}}, look)
    said = "started"
except spawn.OutdatedError:
    said = "outdated"
os.close(ends[1])
answer(ready=ready, said=said, rest=os.read(ends[0], 1).decode(), gone=all(map(ended, standing)))
""")
    assert found == {"ready": 1, "said": "outdated", "rest": "", "gone": True}
    assert list(place.iterdir()) == []


def test_the_folder_to_start_in_is_the_one_that_is_there_now(scripts: Scripts, place: Path) -> None:
    """Between one job and the next its owner puts another one in its place."""
    place.chmod(0o755)
    assert scripts.answer(SERVING + """
import dataclasses
top = sys.argv[1]
os.mkdir(top + "/now")
box = dataclasses.replace(Jail().with_bind(top, "/data"), cwd="/data/now")
server = serving(box)
keep(1, box)
os.rename(top + "/now", top + "/before")
os.mkdir(top + "/now")
done, ahead, (out, _) = run_ahead(["/bin/pwd"], box, stdout=PIPE)
answer(ahead=ahead, out=out.decode())
""", str(place)) == {"ahead": True, "out": "/data/now\n"}


STALE = {
    "replaced": "os.rename(one, one + '.old'), os.mkdir(one), write(one, 'new')",
    "exchanged": "os.rename(one, one + '.old'), os.rename(two, one)",
    "retargeted": "os.unlink(link), os.symlink(two, link)",
}


@pytest.mark.parametrize("how", [*STALE, "unchanged"])
def test_a_source_that_is_another_now_is_the_other(scripts: Scripts, place: Path, how: str) -> None:
    found = scripts.answer(SERVING + f"""
def write(folder, text):
    with open(folder + "/file", "w") as file:
        file.write(text)
one, two, link = (sys.argv[1] + "/" + name for name in ("one", "two", "link"))
os.mkdir(one), os.mkdir(two), write(one, "old"), write(two, "new"), os.symlink(one, link)
box = Jail().with_bind(link, "/data")
server = serving(box)
keep(2, box)
{STALE.get(how, "write(one, 'new')")}
done, ahead, streams = run_ahead(["/bin/cat", "/data/file"], box, stdout=PIPE)
answer(text=streams[0].decode(), ahead=ahead)
""", str(place))
    assert found == {"text": "new", "ahead": how == "unchanged"}


def test_a_source_that_is_given_away_is_the_new_owners(root_pyjail: Launcher, place_of_root: Path) -> None:
    """What was made ahead would act as the one before: as root, on what root has left there."""
    found = Scripts(root_pyjail).answer(SERVING + """
top = sys.argv[1]
with open(os.open(top + "/roots", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
    file.write("secret")
box = Jail().with_bind(top, "/data", writable=True)
server = serving(box)
keep(1, box)
os.chown(top, 1234, 1234)
code = "cat /data/roots 2>/dev/null; touch /data/new && echo made"
done, ahead, (out, _) = run_ahead(["/bin/sh", "-c", code], box, stdout=PIPE)
made = os.stat(top + "/new")
answer(out=out.decode(), ahead=ahead, owner=[made.st_uid, made.st_gid])
""", str(place_of_root))
    assert found == {"out": "made\n", "ahead": False, "owner": [1234, 1234]}


def test_a_source_that_is_gone_is_an_error_and_one_that_came_is_there(scripts: Scripts, place: Path) -> None:
    found = scripts.answer(SERVING + """
name = sys.argv[1] + "/file"
box, other = Jail().with_bind(name, "/file"), Jail().with_bind(sys.argv[1] + "/late", "/late", optional=True)
open(name, "w").close()
server = serving(box)
keep(1, box), keep(1, other)
os.unlink(name)
open(sys.argv[1] + "/late", "w").close()
try:
    step = jail.run(["/bin/true"], jail=box).status
except jail.LaunchError as error:
    step = error.step
answer(step=step, late=jail.run(["/usr/bin/test", "-e", "/late"], jail=other).exit_code)
""", str(place))
    assert found == {"step": "source", "late": 0}


@pytest.fixture
def mounted(place_of_root: Path) -> Iterator[Path]:
    """A folder that something will be mounted on; whatever is, goes with the test."""
    folder = place_of_root / "mounted"
    folder.mkdir()
    yield folder
    subprocess.run(["umount", folder], check=False, capture_output=True)


def test_what_is_mounted_on_the_host_is_there(root_pyjail: Launcher, mounted: Path) -> None:
    found = Scripts(root_pyjail).answer(SERVING + """
import subprocess
box = Jail().with_bind(os.path.dirname(sys.argv[1]), "/data")
server = serving(box)
keep(1, box)
subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
open(sys.argv[1] + "/file", "w").close()
done, ahead, _ = run_ahead(["/usr/bin/test", "-e", "/data/mounted/file"], box)
answer(code=done.exit_code, ahead=ahead)
""", str(mounted))
    assert found == {"code": 0, "ahead": False}
