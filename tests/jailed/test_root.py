"""What the payload finds at / and what it can change there: design §7."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")


def test_top_folders(pyjail):
    r = pyjail.run("run", "--", "/bin/ls", "/")
    seen = set(r.stdout.decode().split())
    assert {"bin", "dev", "etc", "lib", "proc", "tmp", "usr"} <= seen
    assert not seen & {"root", "srv", "mnt", "media", "boot", "opt", "sys"}
    assert pyjail.run("run", "--", "/usr/bin/find", "/home", "/run").stdout == b"/home\n/run\n"


def test_no_host_accounts(pyjail):
    r = pyjail.run(
        "run",
        "--",
        *SH,
        "cat /etc/passwd /etc/group; ls /etc/shadow /etc/ssh /etc/machine-id 2>/dev/null; id -un",
    )
    text = r.stdout.decode()
    assert "/etc/" not in text
    assert "cloudsdk" not in text and "www-data" not in text
    assert r.returncode == 0, r.stderr
    assert len(text.split()[-1]) > 0


def test_names_resolve_without_network(pyjail):
    r = pyjail.run("run", "--", "/usr/bin/getent", "hosts", "localhost")
    assert r.returncode == 0
    assert b"localhost" in r.stdout
    assert pyjail.run("run", "--hostname", "box", "--", "/usr/bin/getent", "hosts", "box").returncode == 0


@pytest.mark.parametrize(
    "path", ["/", "/usr", "/usr/bin", "/etc", "/bin", "/dev", "/lib", "/proc", "/etc/passwd"]
)
def test_read_only(pyjail, path):
    code = f"""
import os
path = {path!r}
try:
    if os.path.isdir(path): os.mkdir(os.path.join(path, 'made'))
    else: os.close(os.open(path, os.O_WRONLY))
except OSError as error: print('refused', error.errno)
else: print('written')
"""
    r = pyjail.run("run", "--", *PYTHON, code)
    assert r.stdout.startswith(b"refused"), (r.stdout, r.stderr)


def test_devices(pyjail):
    r = pyjail.run("run", "--", "/bin/ls", "/dev")
    assert {"null", "zero", "full", "random", "urandom"} <= set(r.stdout.decode().split())
    assert not set(r.stdout.decode().split()) & {"mem", "kmsg", "vda", "sda", "kvm", "fuse", "loop0"}
    work = pyjail.run(
        "run", "--", *SH, "echo x >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c"
    )
    assert work.stdout.split() == [b"4", b"4"]


def test_only_the_jails_processes(pyjail):
    """The payload sees itself; its init, which it may not look into, at most as a number."""
    code = "import os; print({int(n) for n in os.listdir('/proc') if n.isdigit()} - {1} == {os.getpid()})"
    assert pyjail.run("run", "--", *PYTHON, code).stdout == b"True\n"


def test_tmp_is_private_and_writable(pyjail):
    first = pyjail.run("run", "--", *SH, "ls -A /tmp; echo data >/tmp/left; cat /tmp/left")
    assert first.stdout == b"data\n"
    second = pyjail.run("run", "--", *SH, "ls -A /tmp; stat -c %a /tmp")
    assert second.stdout in (b"1777\n", b"700\n", b"755\n")


def test_tmp_size(pyjail):
    r = pyjail.run(
        "run",
        "--tmp-size",
        "1M",
        "--",
        *SH,
        "head -c 900K /dev/zero >/tmp/a && head -c 300K /dev/zero >/tmp/b",
    )
    assert r.returncode != 0
    assert b"No space left" in r.stderr


def test_tmp_inodes(pyjail):
    code = """
import os, errno
made = 0
try:
    for i in range(200_000):
        os.close(os.open(f'/tmp/{i}', os.O_CREAT))
        made += 1
except OSError as error:
    print(errno.errorcode[error.errno], made <= 65536)
"""
    assert pyjail.run("run", "--", *PYTHON, code).stdout == b"ENOSPC True\n"


def test_own_root_folder(pyjail, place):
    """--root DIR: that folder read-only, with the private /tmp, /dev and /proc over it."""
    root = place / "root"
    for name in ("usr", "tmp", "proc", "dev", "etc"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc" / "mark").write_text("of the root\n")
    r = pyjail.run(
        "run",
        "--root",
        root,
        "--ro-bind",
        "/usr:/usr",
        "--",
        *SH,
        "cat /etc/mark; touch /etc/x || echo refused; echo y >/tmp/t; cat /tmp/t; test -c /dev/full; echo $?",
    )
    assert r.stdout.split(b"\n")[:4] == [b"of the root", b"refused", b"y", b"0"], r.stderr
    assert sorted(p.name for p in (root / "etc").iterdir()) == ["mark"]
    assert list((root / "tmp").iterdir()) == []


def test_read_only_bind(pyjail, place):
    (place / "f").write_text("data\n")
    r = pyjail.run(
        "run",
        "--ro-bind",
        f"{place}:/data",
        "--",
        *SH,
        "cat /data/f; echo x >/data/f; echo x >/data/new; chmod 777 /data/f",
    )
    assert r.stdout == b"data\n"
    assert r.stderr.count(b"Read-only") == 3
    assert (place / "f").read_text() == "data\n"


def test_bind_without_a_destination_is_at_its_own_path(pyjail, place):
    (place / "f").write_text("data\n")
    assert pyjail.run("run", "--ro-bind", place, "--", "/bin/cat", place / "f").stdout == b"data\n"


def test_writable_bind_files_belong_to_its_owner(pyjail, place):
    r = pyjail.run(
        "run",
        "--bind",
        f"{place}:/data",
        "--",
        *SH,
        "echo x >/data/f; mkdir /data/d; ln -s f /data/l; stat -c '%u %g' /data /data/f",
    )
    assert r.returncode == 0, r.stderr
    assert r.stdout.split() == [b"1000"] * 4
    for name in ("f", "d", "l"):
        made = (place / name).lstat()
        assert (made.st_uid, made.st_gid) == (pyjail.user.uid, pyjail.user.gid), name


def test_writable_bind_of_another_user(root_pyjail, tmp_path):
    """What the jail makes belongs to the folder's owner, here neither root nor the jail's own user."""
    os.chown(tmp_path, 4242, 4343)
    r = root_pyjail.run("run", "--bind", f"{tmp_path}:/data", "--", *SH, "echo x >/data/f")
    assert r.returncode == 0, r.stderr
    made = (tmp_path / "f").stat()
    assert (made.st_uid, made.st_gid) == (4242, 4343)


def test_other_users_files_in_a_bind_keep_their_protection(root_pyjail, tmp_path):
    """Only one owner is mapped: for a file of anyone else the usual permission bits count."""
    os.chown(tmp_path, 4242, 4242)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    os.chown(secret, 4243, 4243)
    r = root_pyjail.run("run", "--bind", f"{tmp_path}:/data", "--", "/bin/cat", "/data/secret")
    assert r.returncode != 0
    assert b"Permission denied" in r.stderr


def test_set_id_bits_do_nothing(pyjail, place):
    program = place / "id"
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    program.chmod(0o6755)
    r = pyjail.run("run", "--ro-bind", f"{place}:/data", "--", "/data/id", "-u")
    assert r.stdout == b"1000\n", r.stderr


def test_a_file_bound_over_a_file(pyjail, place):
    mine = place / "hosts"
    mine.write_text("127.0.0.1 bound\n")
    assert (
        pyjail.run("run", "--ro-bind", f"{mine}:/etc/hosts", "--", "/bin/cat", "/etc/hosts").stdout
        == b"127.0.0.1 bound\n"
    )


def test_later_mounts_cover_earlier_ones(pyjail, place):
    (place / "sub").mkdir()
    (place / "sub" / "under").write_text("")
    r = pyjail.run(
        "run", "--ro-bind", f"{place}:/data", "--tmpfs", "/data/sub", "--", "/bin/ls", "-A", "/data/sub"
    )
    assert (r.returncode, r.stdout) == (0, b""), r.stderr


def test_tmpfs_with_its_own_size(pyjail):
    r = pyjail.run(
        "run",
        "--tmpfs",
        "/scratch:1M",
        "--",
        *SH,
        "head -c 500K /dev/zero >/scratch/a && echo fits; head -c 2M /dev/zero >/scratch/b",
    )
    assert r.stdout == b"fits\n"
    assert b"No space left" in r.stderr


def test_mount_flags(pyjail, place):
    """Every mount is nosuid, and every one but those of devices nodev."""
    r = pyjail.run("run", "--bind", f"{place}:/data", "--", "/bin/cat", "/proc/self/mountinfo")
    mounts = {f[4]: f[5].split(",") for f in (line.split() for line in r.stdout.decode().splitlines())}
    assert "nosuid" in mounts["/usr"] and "ro" in mounts["/usr"]
    assert all("nosuid" in flags for flags in mounts.values()), mounts
    assert all("nodev" in flags for target, flags in mounts.items() if not target.startswith("/dev")), mounts
    assert "rw" in mounts["/data"]


def test_mounts_below_a_bind_come_along_read_only(root_pyjail, tmp_path):
    """In a mount namespace of the test's own, a mount below a mount is bound."""
    script = f"""
        mount -t tmpfs none {tmp_path} && mkdir {tmp_path}/sub && mount -t tmpfs none {tmp_path}/sub &&
        echo deep >{tmp_path}/sub/f && exec "$@" """
    words = ("run", "--ro-bind", f"{tmp_path}:/data", "--", *SH, "cat /data/sub/f; echo x >/data/sub/g")
    r = root_pyjail.run(
        "-m", *SH, script, "sh", root_pyjail.installation.pyjail, *words, program="/usr/bin/unshare"
    )
    assert r.stdout == b"deep\n", r.stderr
    assert b"Read-only" in r.stderr


def test_host_paths_do_not_show_in_the_mount_table_as_writable(pyjail):
    r = pyjail.run("run", "--", "/bin/cat", "/proc/self/mountinfo")
    for line in r.stdout.decode().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] in ("ext4", "xfs", "btrfs", "overlay"):
            assert "ro" in fields[5].split(","), line


def test_the_root_folder_is_writable_for_nobody_else(pyjail):
    mode = int(pyjail.run("run", "--", "/usr/bin/stat", "-c", "%a", "/").stdout, 8)
    assert mode & 0o022 == 0


@pytest.mark.parametrize(
    ("option", "path"), [("--no-proc", "/proc/self"), ("--no-shm", "/dev/shm/."), ("--no-etc", "/etc/passwd")]
)
def test_defaults_taken_away(pyjail, option, path):
    assert pyjail.run("run", "--", "/usr/bin/test", "-e", path).returncode == 0
    assert pyjail.run("run", option, "--", "/usr/bin/test", "-e", path).returncode == 1


def test_without_tmp_nothing_is_writable(pyjail):
    r = pyjail.run("run", "--no-tmp", "--no-shm", "--cwd", "/", "--", "/usr/bin/touch", "/tmp/x")
    assert r.returncode == 1
