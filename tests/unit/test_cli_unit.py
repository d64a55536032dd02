"""`pyjail unit`: the systemd unit for a compiled jail."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from jail.cli import main
from jail.directives import Ids
from jail.plan import Plan

POOL = Ids(1000, 1000, (1_879_048_192, 65_536, "/run/pyjail-ids.lock"))


@pytest.fixture
def compiled(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Makes a compiled jail, of root's or of an ordinary user's whoever runs the tests."""

    def compile_(*options: str, name: str = "hello.jail", root: bool = True) -> Path:
        path = tmp_path / name
        assert main(["compile", "-o", str(path), *options, "--", "/bin/true"]) == 0
        line, _, rest = path.read_bytes().partition(b"\n")
        plan = Plan.from_bytes(rest)
        ids = POOL if root else Ids(1000, 1000)
        plan = Plan(tuple(ids if isinstance(each, Ids) else each for each in plan.directives))
        path.write_bytes(line + b"\n" + plan.to_bytes())
        return path

    return compile_


def made(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What `pyjail unit` prints."""
    capsys.readouterr()
    assert main(["unit", *map(str, words)]) == 0
    return capsys.readouterr().out


def read(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(text)
    return parser


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line about a request that makes no sense."""
    capsys.readouterr()
    assert main(["unit", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_a_plain_jail(compiled, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    path = compiled()
    unit = read(made(capsys, path))
    service = dict(unit["Service"])
    assert service["ExecStart"] == str(path)
    assert (service["Type"], service["Restart"], service["KillMode"]) == ("exec", "on-failure", "mixed")
    assert service["SuccessExitStatus"] == "129 130 141 143"
    assert service["TimeoutStopSec"] == "10"
    assert "User" not in service
    assert "CAP_SYS_ADMIN" in service["CapabilityBoundingSet"]
    assert unit["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize(("grace", "seconds"), [("0", "5"), ("1500ms", "7"), ("1m", "65")])
def test_the_stop_takes_as_long_as_the_jail_may(compiled, capsys, grace, seconds):  # type: ignore[no-untyped-def]
    assert read(made(capsys, compiled("--grace", grace)))["Service"]["TimeoutStopSec"] == seconds


def test_a_jail_that_tells_when_it_is_ready(compiled, capsys) -> None:  # type: ignore[no-untyped-def]
    path = compiled("--notify")
    assert read(made(capsys, path))["Service"]["Type"] == "notify"
    assert read(made(capsys, "--type", "exec", path))["Service"]["Type"] == "exec"
    assert "compile the jail with --notify" in refused(capsys, "--type", "notify", compiled())


def test_delegation_goes_with_a_cgroup(compiled, capsys) -> None:  # type: ignore[no-untyped-def]
    path = compiled("--no-memory", "--no-pids")
    assert "Delegate" not in read(made(capsys, path))["Service"]
    path.write_bytes(path.read_bytes().replace(b"\nend\n", b"\ncgroup v2 pids /sys/fs/cgroup /\nend\n"))
    assert read(made(capsys, path))["Service"]["Delegate"] == "yes"


def test_a_listening_jail_and_its_socket(compiled, capsys) -> None:  # type: ignore[no-untyped-def]
    path = compiled("--listen-fds", name="web.jail")
    unit = read(made(capsys, path))
    assert (unit["Unit"]["Requires"], "Install" in unit) == ("web.socket", False)
    socket = read(made(capsys, "--socket", "127.0.0.1:8080", path))
    assert dict(socket["Socket"]) == {"ListenStream": "127.0.0.1:8080"}
    assert socket["Install"]["WantedBy"] == "sockets.target"
    assert "takes the listening socket itself" in refused(capsys, "--accept", path)


def test_a_run_for_each_connection(compiled, capsys) -> None:  # type: ignore[no-untyped-def]
    path = compiled(name="echo.jail")
    text = made(capsys, "--accept", path)
    service = read(text)["Service"]
    assert text.startswith("# echo@.service")
    assert (service["StandardInput"], service["StandardError"]) == ("socket", "journal")
    assert service["Restart"] == "no"
    assert read(made(capsys, "--accept", "--socket", "/run/x", path))["Socket"]["Accept"] == "yes"
    assert "compile it with --listen-fds" in refused(capsys, "--socket", "8080", path)
    assert "--restart: with --accept" in refused(capsys, "--accept", "--restart", "always", path)


def test_a_jail_of_an_ordinary_user(compiled, capsys) -> None:  # type: ignore[no-untyped-def]
    path = compiled(root=False)
    service = read(made(capsys, "--user", "www-data", path))["Service"]
    assert (service["User"], service["CapabilityBoundingSet"]) == ("www-data", "")
    session = read(made(capsys, "--session", path))
    assert ("User" in session["Service"], session["Install"]["WantedBy"]) == (False, "default.target")
    assert "exclude each other" in refused(capsys, "--session", "--user", "a", path)
    assert "is no user's name" in refused(capsys, "--user", "a b", path)
    if os.geteuid() == 0:
        assert "name the user with --user NAME" in refused(capsys, path)
        os.chown(path, 65534, 65534)
        assert read(made(capsys, path))["Service"]["User"] == "nobody"
        os.chown(path, 54321, 54321)
        assert read(made(capsys, path))["Service"]["User"] == "54321"


def test_roots_jail_has_no_other_user(compiled, capsys) -> None:  # type: ignore[no-untyped-def]
    path = compiled()
    for words in (("--user", "nobody"), ("--session",)):
        assert "compiled by root, for root" in refused(capsys, *words, path)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a b.jail", '"{}/a b.jail"'),
        ("50%.jail", "{}/50%%.jail"),
        ("$x.jail", "{}/$$x.jail"),
        ('q"\\.jail', '"{}/q\\"\\\\.jail"'),
        ("a;b.jail", '"{}/a;b.jail"'),
    ],
)
def test_odd_paths(compiled, capsys, tmp_path, name, written) -> None:  # type: ignore[no-untyped-def]
    text = made(capsys, compiled(name=name))
    assert f"\nExecStart={written.format(tmp_path)}\n" in text


def test_a_path_that_no_unit_can_name(compiled, capsys) -> None:  # type: ignore[no-untyped-def]
    assert "control characters" in refused(capsys, compiled(name="a\nUser=root"))


@pytest.mark.parametrize("address", ["", " 80", "80\nListenStream=81", "80\n"])
def test_odd_addresses(compiled, capsys, address) -> None:  # type: ignore[no-untyped-def]
    assert "is no address" in refused(capsys, f"--socket={address}", compiled("--listen-fds"))


def test_bad_files(compiled, capsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert "No such file" in refused(capsys, tmp_path / "none")
    assert "Is a directory" in refused(capsys, tmp_path)
    assert "not a compiled jail" in refused(capsys, "/bin/sh")
    path = compiled()
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert "not a compiled jail" in refused(capsys, path)
    path.write_bytes(b"#!/nowhere/jailer run\n" + whole.partition(b"\n")[2])
    assert "its jailer /nowhere/jailer is not there" in refused(capsys, path)
    path.write_bytes(whole)
    path.chmod(0o644)
    assert "not executable" in refused(capsys, path)
    assert "usage: pyjail unit" in refused(capsys)
    assert "usage: pyjail unit" in refused(capsys, path, path)
    assert "--type: expected exec or notify" in refused(capsys, "--type", "forking", compiled())


CASES = [
    pytest.param((), (), "service", id="plain"),
    pytest.param((), ("--type", "oneshot"), "service", id="oneshot"),
    pytest.param(("--notify",), (), "service", id="notify"),
    pytest.param((), ("--accept",), "@.service", id="accept"),
    pytest.param(("--listen-fds",), ("--socket", "127.0.0.1:80"), "socket", id="socket"),
]


@pytest.mark.parametrize(("options", "words", "kind"), CASES)
def test_systemd_finds_nothing_wrong(compiled, capsys, tmp_path, options, words, kind) -> None:  # type: ignore[no-untyped-def]
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    path = compiled(*options, name="hello 1%.jail")
    dot = "" if kind.startswith("@") else "."
    file = tmp_path / f"hello_1_{dot}{kind}"
    file.write_text(made(capsys, *words, path))
    if kind == "socket":
        (tmp_path / "hello_1_.service").write_text(made(capsys, path))
    checked = file.with_name(file.name.replace("@.", "@1."))
    if checked != file:
        checked.symlink_to(file)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", checked], capture_output=True, text=True, check=False
    )
    mine = [line for line in done.stderr.splitlines() if "hello" in line]
    assert mine == [], done.stderr
