"""Files into a jail and out of it: what hostile content may be, and what it comes to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.launcher import Launcher
from support.scripts import Scripts


@pytest.fixture
def root_scripts(root_pyjail: Launcher) -> Scripts:
    return Scripts(root_pyjail)


TRY = """
def attempt(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except jail.CopyError as error:
        return "refused: " + str(error)
"""


def test_files_go_in_and_come_out(scripts: Scripts, place: Path) -> None:
    (place / "tree" / "deep").mkdir(parents=True)
    (place / "tree" / "deep" / "file").write_text("content")
    script = "#!/bin/sh\ncat deep/file; mkdir -p out/b; echo made >out/b/a\nid -u\n"
    (place / "tree" / "run.sh").write_text(script)
    (place / "tree" / "run.sh").chmod(0o755)
    for path in [place / "tree", *(place / "tree").rglob("*")]:
        scripts.launcher.user.owns(path)
    found = scripts.answer("""
place = sys.argv[1]
with jail.Workdir() as work:
    path = os.fspath(work)
    work.copy_in(place + "/tree", "in")
    work.copy_in(place + "/tree/run.sh")
    work.write("a/b/text", "ü\\n")
    done = jail.run(["/bin/sh", "-c", "cd in && ./run.sh; cat ../a/b/text; stat -c %A ../*; test -w ."],
                    jail=work.mounted(), capture_output=True, text=True)
    work.copy_out("in/out", place + "/out")
    text = work.read("in/out/b/a").decode()
facts = os.stat(place + "/out/b/a")
answer(out=done.stdout, err=done.stderr, ok=done.ok, text=text,
       gone=not os.path.exists(os.path.dirname(path)),
       copied=open(place + "/out/b/a").read(), owner=facts.st_uid == os.getuid(), mode=oct(facts.st_mode))
""", str(place))
    assert found.pop("out") == "content1000\nü\ndrwxr-xr-x\ndrwxr-xr-x\n-rwxr-xr-x\n"
    assert found == {
        "err": "",
        "ok": True,
        "text": "made\n",
        "gone": True,
        "copied": "made\n",
        "owner": True,
        "mode": "0o100644",
    }


def test_what_is_no_file_or_folder_is_refused(scripts: Scripts, place: Path) -> None:
    """Links to the host, whether the last name or on the way, pipes, sockets; nobody is waited for."""
    found = scripts.answer(TRY + """
place = sys.argv[1]
code = '''import os, socket
os.symlink("/etc/passwd", "link"), os.symlink("/etc", "folder"), os.symlink("..", "up"), os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
os.makedirs("tree/inner"), os.symlink("/etc/shadow", "tree/inner/link"), open("tree/file", "w").close()
'''
names = ("link", "folder", "folder/passwd", "up", "up/files/tree", "pipe", "socket", "tree",
         "tree/inner/link",
         "/etc/passwd", "..", "tree/../link", "", ".", "absent", "tree/file/x")
with jail.Workdir() as work:
    assert jail.run(["/usr/bin/python3", "-c", code], jail=work.mounted()).ok
    for name in names:
        for result in (attempt(work.read, name), attempt(work.copy_out, name, place + "/out"),
                       attempt(work.write, name, "x") if name not in ("absent",) else "refused"):
            if not str(result).startswith("refused"):
                answer(wrong=[name, str(result)])
    told = [attempt(work.copy_out, name, place + "/out") for name in ("link", "tree", "folder/passwd")]
answer(told=told, left=os.listdir(place), host=os.path.exists("/etc/x"))
""", str(place))
    assert "wrong" not in found
    told = [line.split(": ")[1] for line in found["told"]]
    assert told == ["'link'", "'tree/inner/link'", "'folder/passwd'"]
    assert found["left"] == []


def test_limits_of_a_copy(scripts: Scripts, place: Path) -> None:
    """Number, size together (holes count), depth; and nothing is left of a copy that was refused."""
    found = scripts.answer(TRY + """
place = sys.argv[1]
code = '''import os
os.mkdir("many")
for n in range(20): open("many/%d" % n, "w").write("x" * 100)
with open("hole", "w") as file: file.truncate(1 << 29)
os.mkdir("deep")
os.chdir("deep")
for n in range(40): os.mkdir("d"), os.chdir("d")
'''
with jail.Workdir() as work:
    assert jail.run(["/usr/bin/python3", "-c", code], jail=work.mounted()).ok
    told = [attempt(work.copy_out, "many", place + "/a", max_files=20),
            attempt(work.copy_out, "many", place + "/b", max_bytes=1999),
            attempt(work.copy_out, "hole", place + "/c"),
            attempt(work.copy_out, "deep", place + "/d"),
            attempt(work.read, "hole"),
            attempt(work.read, "many/1", 99)]
    left = os.listdir(place)
    fits = attempt(work.copy_out, "many", place + "/e", max_files=21, max_bytes=2000)
    again = attempt(work.copy_out, "many/1", place + "/e")
    kept = len(os.listdir(place + "/e"))
answer(told=told, left=left, fits=fits, again=again, kept=kept)
""", str(place))
    assert [line.partition(": ")[2].partition(": ")[2] for line in found["told"]] == [
        "more than 20 files and folders",
        "more than 1999 bytes together",
        "more than 67108864 bytes together",
        "more than 32 folders deep",
        "it is larger than 67108864 bytes",
        "it is larger than 99 bytes",
    ]
    assert (found["left"], found["fits"], found["kept"]) == ([], None, 20)
    assert found["again"] == "refused: 'e': is there already; nothing is overwritten"


def test_whatever_is_in_it_is_removed(scripts: Scripts) -> None:
    """Deeper than there are descriptors or stack frames, without rights, more names than are read at once."""
    assert scripts.answer("""
code = '''import os
for n in range(3000): os.symlink("/", "l%d" % n)
for top in ("a", "b"):
    os.mkdir(top)
    os.chdir(top)
    for n in range(3000):
        os.mkdir("d")
        open("f", "w").close()
        os.chdir("d")
    os.chdir("/work")
os.mkdir("closed"), os.mkdir("closed/inner"), os.mkdir("closed/inner/most")
os.chmod("closed/inner/most", 0), os.chmod("closed/inner", 0), os.chmod("closed", 0), os.chmod("/work", 0)
'''
with jail.Workdir() as work:
    path = os.path.dirname(os.fspath(work))
    done = jail.run(["/usr/bin/python3", "-c", code], jail=work.mounted(), stderr=PIPE)
answer(err=done.stderr.decode(), gone=not os.path.exists(path))
""") == {"err": "", "gone": True}


def test_nobody_else_reaches_it(scripts: Scripts) -> None:
    """A jail owns the folder that it sees, and opens it to all; the folder around it stays closed."""
    assert scripts.answer("""
with jail.Workdir() as work:
    jail.run(["/bin/chmod", "777", "/work"], jail=work.mounted())
    inner, outer = os.stat(work), os.stat(os.path.dirname(os.fspath(work)))
answer(inner=oct(inner.st_mode & 0o7777), outer=oct(outer.st_mode & 0o7777))
""") == {"inner": "0o777", "outer": "0o700"}


def test_a_link_that_is_swapped_while_it_is_copied_leads_nowhere(scripts: Scripts, place: Path) -> None:
    """A jail that runs meanwhile changes a folder and a file into links to the host's, and back."""
    secret = place / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    scripts.launcher.user.owns(secret)
    found = scripts.answer(TRY + """
place = sys.argv[1]
code = '''import os, sys
os.mkdir("t")
open("t/file", "w").write("own")
os.symlink(sys.argv[1], "link"), os.symlink(sys.argv[1] + "/file", "filelink"), open("own", "w").write("own")
print("ready", flush=True)
while True:
    for a, b in (("t", "keep"), ("link", "t"), ("t", "link"), ("keep", "t"),
                 ("own", "keep"), ("filelink", "own"), ("own", "filelink"), ("keep", "own")):
        os.rename(a, b)
'''
seen = set()
with jail.Workdir() as work:
    words = ["/usr/bin/python3", "-c", code, place + "/secret"]
    with jail.start(words, jail=work.mounted(), stdout=PIPE) as process:
        process.stdout.readline()
        for number in range(40):
            for name in ("t/file", "own"):
                got = attempt(work.read, name)
                seen.add(got.decode() if isinstance(got, bytes) else "refused")
            if attempt(work.copy_out, "t", place + "/out") is None:
                with open(place + "/out/file") as file: seen.add(file.read())
                os.unlink(place + "/out/file"), os.rmdir(place + "/out")
        process.kill()
answer(seen=sorted(seen))
""", str(place))
    assert found == {"seen": ["own", "refused"]}


def test_nothing_is_left_of_one_that_cannot_be_opened(scripts: Scripts, place: Path) -> None:
    found = scripts.answer("""
import resource
place = sys.argv[1]
sizes = [None, "4M"] if os.geteuid() == 0 else [None]
jail.Workdir(place, size=sizes[-1]).close()  # all that is loaded later is
told = []
for size in sizes:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        jail.Workdir(place, size=size)
    except OSError as error:
        told.append(error.errno)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
answer(told=set(told) == {24} and len(told) == len(sizes), left=os.listdir(place))
""", str(place))
    assert found == {"told": True, "left": []}


FILL = """
def fill(work, names, size):
    code = '''import errno, os, sys
written, wrong = 0, 0
for name in sys.argv[2:]:
    file = os.open(name, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(int(sys.argv[1]) >> 16): written += os.write(file, bytes(1 << 16))
    except OSError as error: wrong = error.errno
print(written, errno.errorcode.get(wrong, ""))'''
    words = ["/usr/bin/python3", "-c", code, str(size), *names]
    written, *wrong = jail.run(words, jail=work.mounted(), stdout=PIPE, check=True).stdout.split()
    return [int(written), *(word.decode() for word in wrong)]
"""


def test_a_size_holds_for_all_files_of_all_jails_together(
    root_scripts: Scripts, place_of_root: Path
) -> None:
    found = root_scripts.answer(FILL + TRY + """
place = sys.argv[1]
with jail.Workdir(place, size="4M") as work:
    path = os.fspath(work)
    jails = [fill(work, ["a", "b"], 1 << 20), fill(work, ["c", "d"], 2 << 20)]
    copied = attempt(work.write, "e", bytes(1 << 16))
    read = len(work.read("c"))
    facts = os.stat(path + "/a")
    left = os.listdir(path)
answer(jails=jails, copied=copied, read=read, owner=[facts.st_uid, facts.st_gid], left=sorted(left),
       gone=os.listdir(place), mounted=path in open("/proc/self/mountinfo").read())
""", str(place_of_root))
    (first, second) = found.pop("jails")
    assert first == [2 << 20]
    assert second[1] == "ENOSPC"
    assert (2 << 20) - (1 << 17) < second[0] <= 2 << 20
    assert "No space left" in found.pop("copied")
    assert found == {"read": 2 << 20, "owner": [0, 0], "left": ["a", "b", "c", "d"],
                     "gone": [], "mounted": False}


def test_a_size_holds_for_the_number_of_files(root_scripts: Scripts) -> None:
    found = root_scripts.answer("""
code = '''import errno, itertools
try:
    for n in itertools.count(): open(str(n), "w").close()
except OSError as error: print(n, errno.errorcode[error.errno])'''
with jail.Workdir(size=1 << 20) as work:
    words = ["/usr/bin/python3", "-c", code]
    said = jail.run(words, jail=work.mounted(), stdout=PIPE, text=True, check=True).stdout.split()
answer(number=int(said[0]), why=said[1])
""")
    assert found["why"] == "ENOSPC"
    assert 60_000 < found["number"] <= 65_536


def test_a_size_that_cannot_be_held_is_an_error(ordinary_pyjail: Launcher) -> None:
    found = Scripts(ordinary_pyjail).answer("""
place = os.getcwd()
try:
    jail.Workdir(place, size="4M")
except jail.UnsupportedError as error:
    told = [error.feature, error.needs, error.remedy]
try:
    jail.Workdir(place, size="much")
except jail.SpecError as error:
    wrong = str(error)
answer(told=told, wrong=wrong, left=[name for name in os.listdir(place) if name.startswith("pyjail-work")])
""")
    feature, needs, remedy = found["told"]
    assert (feature, "run as root" in remedy or "6.3" in needs) == ("size of a Workdir", True)
    assert "not a size" in found["wrong"]
    assert found["left"] == []


def test_a_jail_outlives_the_folder_of_a_size(root_scripts: Scripts, place_of_root: Path) -> None:
    found = root_scripts.answer("""
place = sys.argv[1]
with jail.Workdir(place, size="4M") as work:
    words = ["/bin/sh", "-c", "echo up; read x; echo kept >file; cat file"]
    process = jail.start(words, jail=work.mounted(), stdin=PIPE, stdout=PIPE)
    process.stdout.readline()
with process:
    out, _ = process.communicate(b"on\\n")
answer(out=out.decode(), ok=process.outcome.ok, left=os.listdir(place))
""", str(place_of_root))
    assert found == {"out": "kept\n", "ok": True, "left": []}


LEAVE = """
work = jail.Workdir(sys.argv[1], size=sys.argv[2] or None)
jail.run(["sh", "-c", "mkdir -p a/b; echo >a/f; chmod 0 a/b a ."], jail=work.mounted()).check()
answer(path=os.fspath(work))
sys.stdin.read()
"""


def test_what_a_killed_caller_left_is_removed_by_the_next(scripts: Scripts, place: Path) -> None:
    """Nothing else: neither what somebody still has, nor what only looks like it."""
    size = "1M" if scripts.launcher.user.is_root else ""
    (place / "other").mkdir()
    scripts.launcher.user.owns(place / "other")
    (place / "pyjail-work-link").symlink_to("other")
    (place / "pyjail-work-open").mkdir(mode=0o755)
    scripts.launcher.user.owns(place / "pyjail-work-open")
    looks = {"other", "pyjail-work-link", "pyjail-work-open"}
    names = """
with jail.Workdir(sys.argv[1]) as work:
    answer(names=[name for name in os.listdir(sys.argv[1]) if name not in os.fspath(work)],
           mounts=open("/proc/self/mountinfo").read().count(sys.argv[1]))
"""
    killed, _ = scripts.started(LEAVE, str(place), size)
    with killed:
        killed.kill()
    held, line = scripts.started(LEAVE, str(place), size)
    with held:
        kept = Path(json.loads(line)["path"]).parent.name
        found = scripts.answer(names, str(place))
        assert (set(found["names"]), found["mounts"]) == (looks | {kept}, 1 if size else 0)
    found = scripts.answer(names, str(place))
    assert (set(found["names"]), found["mounts"]) == (looks, 0)
