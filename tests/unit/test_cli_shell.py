"""Which shell `pyjail shell` starts, and what it makes of its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from jail.cli.shell import shell_of
from jail.spec import Jail


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that has a shell of its own kind, a link to it, and a text."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/ash").write_text("#!/nothing\n")
    (tmp_path / "opt/ash").chmod(0o755)
    (tmp_path / "opt/notes").write_text("no program\n")
    (tmp_path / "opt/own").symlink_to("/opt/ash")
    (tmp_path / "opt/circle").symlink_to("circle")
    return tmp_path


def test_the_callers_own_where_it_is_inside() -> None:
    assert shell_of(Jail(), "/usr/bin/env") == "/usr/bin/env"


@pytest.mark.parametrize("own", ["", "bash", "/nowhere/fish", "/etc/passwd", "/proc/self/exe", "/usr/bin"])
def test_else_bash(own: str) -> None:
    assert shell_of(Jail(), own) == "/bin/bash"


@pytest.mark.parametrize("own", ["/opt/ash", "/opt/own", "/opt//ash"])
def test_in_another_root_its_own_links_are_followed(root: Path, own: str) -> None:
    assert shell_of(Jail(root=str(root)), own) == own


@pytest.mark.parametrize("own", ["/opt/notes", "/opt/circle", "/usr/bin/env", "/bin/bash"])
def test_the_last_resort_is_not_looked_for(root: Path, own: str) -> None:
    assert shell_of(Jail(root=str(root)), own) == "/bin/sh"


def test_binds_are_looked_into_and_what_they_cover_is_not(root: Path) -> None:
    box = Jail().with_bind(root / "opt", "/data/opt")
    assert shell_of(box, "/data/opt/ash") == "/data/opt/ash"
    assert shell_of(box.with_tmpfs("/data/opt/ash"), "/data/opt/ash") == "/bin/bash"
    assert shell_of(Jail().with_tmpfs("/usr/bin"), "/usr/bin/env") == "/bin/bash"
