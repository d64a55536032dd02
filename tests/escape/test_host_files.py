"""Host files by path, by `..`, by links that are there at set-up, and by links that an earlier payload left
behind.

The set-up runs with more rights than the payload, so whatever it follows it follows for the attacker: the
content of a writable bind belongs to the last payload.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.launcher import Completed, Launcher


@pytest.fixture
def secret(place: Path) -> Path:
    """World-readable, so that only the jail stands between; beside, not below, what the tests bind."""
    file = place / "secret"
    file.write_text("host secret\n")
    file.chmod(0o666)
    return file


@pytest.fixture
def data(place: Path, pyjail: Launcher) -> Path:
    folder = place / "data"
    folder.mkdir()
    return pyjail.user.owns(folder)


def test_the_hosts_tree_is_not_there(pyjail: Launcher, secret: Path) -> None:
    found = pyjail.python(
        """
answer(root=os.listdir("/"), home=attempt(os.listdir, "/root"), shadow=read("/etc/shadow"),
       secret=read(sys.argv[1]),
       passwd=read("/etc/passwd"), run=attempt(os.listdir, "/run"), sys=attempt(os.listdir, "/sys"),
              var=attempt(os.listdir, "/var/lib"),
       up=read("/../../../../.." + sys.argv[1]), kernel=attempt(os.listdir, "/boot"),
              machine=read("/etc/machine-id"))
""",
        str(secret),
    ).answer
    assert found["secret"] == found["up"] == found["shadow"] == found["machine"] == "ENOENT"
    assert found["passwd"] != Path("/etc/passwd").read_text()
    assert len(found["passwd"].splitlines()) <= 4
    for gone in ("home", "sys", "var", "kernel"):
        assert found[gone] in ("ENOENT", "EACCES"), gone


def test_nothing_but_the_private_places_is_writable(jailed: Callable[..., Completed]) -> None:
    found = jailed("""
writable = []
for top, folders, files in os.walk("/"):
    if top.startswith("/proc"):
        folders[:] = []
        continue
    if os.access(top, os.W_OK):
        writable.append(top)
    if top.count("/") > 4:
        folders[:] = []
answer(writable=writable)
""").answer["writable"]
    assert set(found) <= {"/tmp", "/dev/shm", "/var/tmp", "/run"}


def test_a_link_in_a_writable_bind_leads_nowhere(pyjail: Launcher, data: Path, secret: Path) -> None:
    for name, target in (
        ("absolute", str(secret)),
        ("relative", "../secret"),
        ("deep", "../" * 30 + str(secret)[1:]),
        ("proc", f"/proc/1/root{secret}"),
        ("cwd", "/proc/1/cwd/../secret"),
    ):
        (data / name).symlink_to(target)
    found = pyjail.python(
        """
answer(**{name: [read("/data/" + name), attempt(os.open, "/data/" + name,
       os.O_WRONLY)] for name in os.listdir("/data")})
""",
        options=["--bind", f"{data}:/data"],
    ).answer
    assert len(found) == 5
    for name, (text, opened) in found.items():
        assert text in ("ENOENT", "EACCES", "EPERM"), name
        assert opened in ("ENOENT", "EACCES", "EPERM"), name


LAST_RUN = """
import shutil
shutil.rmtree("/data/x", ignore_errors=True)
os.path.lexists("/data/x") and os.unlink("/data/x")
os.symlink(sys.argv[1], "/data/x")
"""


@pytest.mark.parametrize(
    "target", ["{victim}", "/proc/self/root{victim}", "../victim", "/proc/1/root{victim}", "/proc/self/cwd"]
)
@pytest.mark.parametrize(
    "mount",
    ["--tmpfs /data/x", "--ro-bind {source}:/data/x", "--bind {source}:/data/x/y", "--tmpfs /data/x/y/z"],
)
def test_a_link_left_by_the_last_payload_does_not_redirect_the_next_set_up(
    pyjail: Launcher, place: Path, data: Path, target: str, mount: str
) -> None:
    victim, source = place / "victim", place / "source"
    for folder in (victim, source):
        folder.mkdir()
        pyjail.user.owns(folder)
    target = target.format(victim=victim)
    (victim / "kept").write_text("kept")
    before = victim.stat()
    assert pyjail.python(LAST_RUN, target, options=["--bind", f"{data}:/data"]).returncode == 0
    assert os.readlink(data / "x") == target
    words = [word.format(source=source) for word in mount.split()]
    pyjail.run("run", "--bind", f"{data}:/data", *words, "--", "/usr/bin/touch", "/data/x/marker")
    assert sorted(os.listdir(victim)) == ["kept"]
    assert victim.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(source) in ([], ["marker"])
    assert not os.path.ismount(victim)


@pytest.mark.parametrize("kind", ["fifo", "socket", "file", "dangling"])
def test_whatever_the_last_payload_left_at_a_target_does_not_hang_the_next_set_up(
    pyjail: Launcher, data: Path, kind: str
) -> None:
    make = {
        "fifo": "os.mkfifo('/data/x')",
        "file": "open('/data/x', 'w').close()",
        "socket": "import socket; socket.socket(socket.AF_UNIX).bind('/data/x')",
        "dangling": "os.symlink('/nowhere/at/all', '/data/x')",
    }[kind]
    assert pyjail.python(make, options=["--bind", f"{data}:/data"]).returncode == 0
    result = pyjail.run("run", "--bind", f"{data}:/data", "--tmpfs", "/data/x", "--", "/bin/true")
    assert result.returncode == 125
    assert result.outcome is not None
    assert result.outcome["status"] == "setup-failed"


def test_a_source_that_is_a_magic_link_is_refused(pyjail: Launcher) -> None:
    result = pyjail.run("run", "--ro-bind", "/proc/self/root:/host", "--", "/bin/ls", "/host")
    assert result.returncode == 125, result.stdout


@pytest.mark.parametrize(
    "target", ["/", "/..", "/../etc", "/tmp/../..", "relative", "", "/proc/self", "/proc/self/fd/3"]
)
def test_a_target_that_is_not_a_plain_path_inside_is_refused(
    pyjail: Launcher, data: Path, target: str
) -> None:
    result = pyjail.run("run", "--bind", f"{data}:{target}", "--", "/bin/true")
    assert result.returncode in (2, 125), (target, result.stderr)


def test_a_read_only_bind_is_read_only_with_all_below_it(pyjail: Launcher, data: Path) -> None:
    (data / "file").write_text("x")
    (data / "file").chmod(0o666)
    data.chmod(0o777)
    found = pyjail.python(
        """
answer(write=attempt(os.open, "/data/file", os.O_RDWR), make=attempt(os.open, "/data/new",
       os.O_CREAT | os.O_WRONLY),
       chmod=attempt(os.chmod, "/data/file", 0o777), utime=attempt(os.utime, "/data/file"),
              unlink=attempt(os.unlink, "/data/file"),
       fchmod=attempt(os.fchmod, os.open("/data/file", os.O_RDONLY), 0o777))
""",
        options=["--ro-bind", f"{data}:/data"],
    ).answer
    assert set(found.values()) <= {"EROFS", "EACCES", "EPERM"}
    assert "ok" not in found.values()


def test_hard_links_out_of_the_bind_are_refused(
    pyjail: Launcher, place: Path, data: Path, secret: Path
) -> None:
    """A link needs both ends on one mount; a descriptor of the host's file and a bind of the same disk are
    two."""
    with secret.open("rb") as file:
        found = pyjail.python(
            """
answer(fd=attempt(os.link, "/proc/self/fd/0", "/data/stolen", follow_symlinks=True),
       empty=call(265, 0, b"", -100, b"/data/stolen2", 0x1000), usr=attempt(os.link, "/usr/bin/env",
              "/data/env"),
       cross=attempt(os.link, "/readable/secret", "/data/cross"))
""",
            stdin=file,
            options=["--bind", f"{data}:/data", "--ro-bind", f"{place}:/readable"],
        ).answer
    assert "ok" not in found.values()
    assert 0 not in found.values()
    assert os.listdir(data) == []
    assert secret.stat().st_nlink == 1


def test_setuid_bits_on_a_writable_bind_give_nothing(pyjail: Launcher, data: Path) -> None:
    """The jail may mark a file; it must not be root's, and it must not take effect inside."""
    found = pyjail.python(
        """
import shutil, subprocess
shutil.copy("/usr/bin/id", "/data/id")
marked = attempt(os.chmod, "/data/id", 0o6755)
chown = attempt(os.chown, "/data/id", 0, 0)
answer(marked=marked, chown=chown, uid=subprocess.run(["/data/id", "-u"],
       capture_output=True).stdout.decode().strip(),
       me=os.getuid(), file=os.stat("/data/id").st_uid)
""",
        options=["--bind", f"{data}:/data"],
    ).answer
    assert found["chown"] in ("EPERM", "EINVAL")
    assert found["uid"] == str(found["me"])
    assert found["file"] == found["me"]
    made = (data / "id").stat()
    assert made.st_uid == pyjail.user.uid
    if pyjail.user.is_root:
        assert not made.st_mode & (stat.S_ISUID | stat.S_ISGID), "a setuid-root file made by a payload"


def test_file_capabilities_cannot_be_given(pyjail: Launcher, data: Path) -> None:
    found = pyjail.python(
        """
open("/data/x", "w").close()
caps = (0x02000001).to_bytes(4, "little") + b"\\xff" * 16
answer(caps=attempt(os.setxattr, "/data/x", "security.capability", caps), trusted=attempt(os.setxattr,
       "/data/x", "trusted.x", b"1"))
""",
        options=["--bind", f"{data}:/data"],
    ).answer
    assert found["caps"] != "ok"
    assert found["trusted"] != "ok"
