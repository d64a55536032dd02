"""Plans for the library: made once for a `Jail`, used again while nothing that they depend on has changed.

What a plan depends on is what the command's cache keeps too (jail/sources.py): the files that were read to
build it, the links and folders of the host that it shows, the cgroups that it may divide. They stand in its
`depends` lines: whoever starts a jail need not look at each of them, some 20 calls of lstat(2), since its
supervisor does.
"""

from __future__ import annotations

import os
import re
import stat

from jail._record import record
from jail.server import own_cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.directives import Depends
    from jail.server import Surroundings
    from jail.spec import Jail

MOST = 64
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink"}


@record(frozen=True)
class Kept:
    """A plan's text and what it holds by: the facts, which are in its `depends` lines too, and the cgroups of
    this process."""

    text: bytes
    facts: tuple[Depends, ...]
    cgroups: bytes

    def holds(self, cgroups: bytes) -> bool:
        """Whether the same would be made now, in these cgroups."""
        return cgroups == self.cgroups and all(map(_is_still, self.facts))

    def holds_in(self, now: Surroundings) -> bool:
        """Whether it may be, as far as the serving jailer does not look itself."""
        return now.cgroups == self.cgroups


_kept: dict[object, Kept] = {}


def plan_text(jail: Jail, now: Surroundings | None = None) -> bytes:
    """The plan of the jail on this host as it is now, without a command and without a place for the outcome.
    `now`: the surroundings, for who has just looked.

    Raises SpecError or UnsupportedError.
    """
    key = _key(jail)
    kept = _kept.get(key)
    if kept is not None and kept.holds(now.cgroups if now else own_cgroups()):
        return kept.text
    return _made(jail, key).text


def likely_plan(jail: Jail) -> Kept:
    """The last such plan, for who has the serving jailer look at it; else one that is made. Raises SpecError
    or UnsupportedError."""
    key = _key(jail)
    return _kept.get(key) or _made(jail, key)


def unguarded(plan: bytes) -> bytes:
    """The plan without its `depends` lines, for who has just made it, or looked at all of them."""
    return re.sub(rb"^depends .*\n", b"", plan, flags=re.MULTILINE)


def _key(jail: Jail) -> object:
    place = "" if jail.seccomp in ("default", "off") else os.getcwd()  # for a policy file's relative path
    return jail, os.geteuid(), os.getegid(), *os.getgroups(), place


def _made(jail: Jail, key: object) -> Kept:
    made, lasts = _make(jail)
    if lasts:
        _kept.pop(key, None)
        _kept[key] = made
        for oldest in list(_kept)[:-MOST]:
            _kept.pop(oldest, None)  # another thread may have been faster
    return made


def awaiting_begin(plan: bytes) -> bytes:
    """The plan of a jail that waits: its time begins with the request `begin`."""
    return plan.removesuffix(b"end\n") + b"await-begin\nend\n"


def _make(jail: Jail) -> tuple[Kept, bool]:
    """The plan, and whether a later change of what it was made from could be seen."""
    from jail.build import build_plan
    from jail.host import Host
    from jail.launch import load_program
    from jail.plan import Plan
    from jail.sources import Sources, lasting, policies_of

    cgroups = own_cgroups()
    sources = Sources()
    for policy in policies_of(jail):
        sources.add(policy)
    program = load_program(jail)
    host = Host.probe(jail)
    sources.add_cgroups(host)
    sources.add_schedulers(jail)
    facts = tuple(dict.fromkeys(map(_absolute, (*host.facts, *sources.facts))))
    plan = lasting(build_plan(jail, (), host, program=program))
    return Kept(Plan((*facts, *plan.directives)).to_bytes(), facts, cgroups), sources.settled


def _absolute(known: Depends) -> Depends:
    from jail.directives import Depends

    path = known.path if os.path.isabs(known.path) else os.path.join(os.getcwd(), known.path)
    return Depends(known.kind, path, known.dev, known.ino, known.size, known.mtime, known.ctime)


def _is_still(known: Depends) -> bool:
    """Whether lstat(2) says the same again; None is what does not count."""
    try:
        found = os.lstat(known.path)
    except OSError:
        return known.kind == "absent"
    return (
        KINDS.get(stat.S_IFMT(found.st_mode), "other") == known.kind
        and (found.st_dev, found.st_ino) == (known.dev, known.ino)
        and known.ctime in (None, found.st_ctime_ns)
        and known.mtime in (None, found.st_mtime_ns)
        and known.size in (None, found.st_size)
    )
