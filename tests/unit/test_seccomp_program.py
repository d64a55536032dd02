"""Loading programs: shipped, cached, compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import seccomp
from seccomp import Policy, PolicyError, Program, precompile
from seccomp.program import _PROFILES, definitions, pack, profiles, stored_path, unpack

TEXT = 'default = "allow"\n[[rule]]\ncalls = ["ptrace"]\naction = "EPERM"\n'
MACHINE = os.uname().machine
MEANING = f"{'.'.join(map(str, seccomp.library_version()))}+{definitions()}+{os.uname().release}"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("profile", profiles())
def test_the_precompiled_programs_are_up_to_date(profile: str, strict: bool, tmp_path: Path) -> None:
    shipped = stored_path(_PROFILES, profile, strict)
    if not os.path.exists(shipped):
        pytest.skip("not built: python -m seccomp.precompile")
    policy = Policy.from_file(f"{_PROFILES}/{profile}.toml")
    stored = unpack(
        Path(shipped).read_bytes(), Path(_PROFILES, f"{profile}.toml").read_bytes(), MACHINE, strict
    )
    assert stored == (policy.strict() if strict else policy).compile()


def test_precompiling_writes_every_profile(tmp_path: Path) -> None:
    written = precompile.precompile(str(tmp_path))
    assert sorted(written) == sorted(str(path) for path in tmp_path.iterdir())
    assert len(written) == 2 * len(profiles())


def test_a_bad_folder_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert precompile.main([str(tmp_path / "absent")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert precompile.main(["a", "b"]) == 2


def test_a_shipped_profile_needs_no_library_and_no_heavy_module(tmp_path: Path) -> None:
    """A copy without the extension, with programs: what is loaded is exactly the program."""
    copy = tmp_path / "seccomp"
    (copy / "profiles").mkdir(parents=True)
    for file in Path(seccomp.__file__).parent.glob("*.py"):
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "profiles/default.toml").write_bytes(Path(_PROFILES, "default.toml").read_bytes())
    precompile.precompile(str(copy / "profiles"))
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
before = set(sys.modules)
import seccomp
program = seccomp.load("default", strict=True)
assert program.name == "default.strict", program
print(*sorted(set(sys.modules) - before)); print(program.bpf.hex())"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    modules, bpf = done.stdout.splitlines()
    assert modules.split() == ["__future__", "seccomp", "seccomp.program"]
    assert bytes.fromhex(bpf) == seccomp.load("default", strict=True).bpf


def test_a_changed_profile_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seccomp.program._PROFILES", str(tmp_path))
    (tmp_path / "mine.toml").write_text(TEXT)
    bpf = Policy.from_toml(TEXT).compile()
    (tmp_path / f"mine.{MACHINE}.bpf").write_bytes(pack(bpf, TEXT.encode(), MACHINE, False, "2.5.4"))
    assert seccomp.load("mine").bpf == bpf
    changed = TEXT.replace("ptrace", "bpf")
    (tmp_path / "mine.toml").write_text(changed)
    assert seccomp.load("mine").bpf == Policy.from_toml(changed).compile() != bpf


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_a_policy_file(policy: Path) -> None:
    program = seccomp.load(policy)
    assert (program.name, program.bpf) == (str(policy), Policy.from_toml(TEXT).compile())
    assert seccomp.load(policy, strict=True).bpf == Policy.from_toml(TEXT).strict().compile() != program.bpf


def test_the_cache_keeps_and_gives_back(policy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = seccomp.load(policy, cache_dir=str(cache))
    (entry,) = cache.iterdir()
    assert (cache.stat().st_mode & 0o777, entry.stat().st_mode & 0o777) == (0o700, 0o600)
    marked = pack(
        b"\6\0\0\0\0\0\0\0", TEXT.encode(), MACHINE, False, MEANING
    )
    entry.write_bytes(marked)
    assert (
        seccomp.load(policy, cache_dir=str(cache)).bpf == b"\6\0\0\0\0\0\0\0"
    )  # so it was read, not compiled
    entry.write_bytes(marked[:-1])
    assert seccomp.load(policy, cache_dir=str(cache)) == first  # cut short: not used, and replaced
    assert seccomp.load(policy, strict=True, cache_dir=str(cache)) != first
    policy.write_text(TEXT + "# other\n")
    seccomp.load(policy, cache_dir=str(cache))
    assert len(list(cache.iterdir())) == 3


def test_a_cache_that_others_can_write_is_not_used(policy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    seccomp.load(policy, cache_dir=str(cache))
    assert list(cache.iterdir()) == []


def test_an_entry_that_others_can_write_or_that_is_a_link_is_not_used(policy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = seccomp.load(policy, cache_dir=str(cache))
    (entry,) = cache.iterdir()
    other = pack(
        b"\6\0\0\0\0\0\0\0", TEXT.encode(), MACHINE, False, MEANING
    )
    entry.write_bytes(other)
    entry.chmod(0o666)
    assert seccomp.load(policy, cache_dir=str(cache)) == first
    (tmp_path / "elsewhere").write_bytes(other)
    entry.unlink()
    entry.symlink_to(tmp_path / "elsewhere")
    assert seccomp.load(policy, cache_dir=str(cache)) == first


def test_a_cache_that_cannot_be_is_no_error(policy: Path) -> None:
    assert seccomp.load(policy, cache_dir="/proc/nonexistent/cache").bpf


@pytest.mark.parametrize("name", ["nosuch", "..", "", "default.strict", "a\nb"])
def test_an_unknown_profile_names_those_there_are(name: str) -> None:
    with pytest.raises(PolicyError, match="default"):
        seccomp.load(name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        seccomp.load(tmp_path / "none.toml")
    with pytest.raises(IsADirectoryError):
        seccomp.load(tmp_path)


def test_errors_of_a_policy_file_name_it(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("default = 3")
    with pytest.raises(PolicyError) as caught:
        seccomp.load(path)
    assert (caught.value.file, caught.value.key) == (str(path), "default")


def test_a_program_does_not_change() -> None:
    program = Program("x", bytes(8))
    with pytest.raises(AttributeError):
        program.bpf = b""
    with pytest.raises(ValueError, match="7 bytes"):
        Program("x", bytes(7))
    assert (len(program), program, hash(program)) == (1, Program("x", bytes(8)), hash(Program("x", bytes(8))))


def test_the_text_form() -> None:
    assert Program("x", bytes.fromhex("1500010ebeadde000600000000000500")).to_hex() == (
        "0015010e00deadbe0006000000050000"
    )


@given(st.binary(min_size=1), st.binary(), st.booleans(), st.binary())
def test_stored_programs_come_back_only_whole_and_for_their_text(
    bpf: bytes, text: bytes, strict: bool, tail: bytes
) -> None:
    stored = pack(bpf, text, "m", strict, "2.5.4")
    assert unpack(stored, text, "m", strict) == unpack(stored, text, "m", strict, "2.5.4") == bpf
    assert unpack(stored, text, "m", not strict) is None
    assert unpack(stored, text, "n", strict) is None
    assert unpack(stored, text, "m", strict, "2.6.0") is None
    assert unpack(stored, text + b"x", "m", strict) is None
    assert unpack(stored[:-1], text, "m", strict) is None
    assert unpack(stored + b"x", text, "m", strict) is None
    assert unpack(tail, text, "m", strict) is None
