"""The writing side of the plan cache. The native front reads it; this module builds nothing and reads nothing
back.

Why a cached plan can be neither stale nor foreign:

- It is chosen by a key that the front makes from everything the plan is a function of: the words before `--`,
  the current folder, user, groups, pyjail's version, the kernel's release and boot id. The file's name is a
  hash of the key, the file itself holds the key in full, and the front compares it byte for byte.
- All else that was read to build it stands in `depends` lines, with what lstat(2) said **before** it was
  read: the configuration and policy files, each symbolic link on the way to them, pyjail's own modules, the
  cgroups. A file that changes later has another inode, size, mtime or ctime, and ctime cannot be set back. A
  file that changed less than two seconds before it was read could change again within one tick of its clock:
  then nothing is stored.
- Only plans whose words before `--` are options alone are stored, because the front takes what follows the
  first `--` as the command. The command, uid slot, cgroup and passed variables are never part of a plan.
- The folder is opened without following a link and must belong to the effective user with no rights for
  anybody else, checked on the open descriptor, not on its name; the files in it likewise. Otherwise it is not
  used at all: no plan of another user's making is ever read. Plans appear by rename, whole or not at all.
"""

from __future__ import annotations

import os
import sys

from jail._fields import unescape
from jail.directives import Depends, Key
from jail.host import fact
from jail.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jail.sources import Sources

MAX_PLANS = 256
MAX_DEPENDS = 256  # of a plan, as the front reads it
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UntrustedError(Exception):
    """The cache folder is not one that plans may be kept in. The text says why and what to do."""


def folder() -> str:
    """The cache folder's path: $XDG_CACHE_HOME/pyjail or $HOME/.cache/pyjail, or "" if neither is
    absolute."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return base + "/pyjail"
    home = os.environ.get("HOME", "")
    return home + "/.cache/pyjail" if home.startswith("/") else ""


def open_plans(path: str, create: bool) -> int:
    """A descriptor of the folder `plans` in the cache folder `path`, both proven to be ours alone.

    Raises UntrustedError, or OSError if there is none (and `create` is false) or none can be made.
    """
    if not path:
        raise UntrustedError("neither XDG_CACHE_HOME nor HOME is an absolute path")
    if create and not os.path.isdir(parent := os.path.dirname(path)):
        os.mkdir(parent, 0o700)  # ~/.cache, but never the home: users without one have to stay so
    outer = open_trusted(path, None, create)
    try:
        return open_trusted("plans", outer, create, path + "/plans")
    finally:
        os.close(outer)


def open_trusted(name: str, parent: int | None, create: bool, path: str = "") -> int:
    """Open a folder and check by the descriptor that nobody else can write or read there."""
    path = path or name
    try:
        descriptor = os.open(name, OPEN_FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
        os.mkdir(name, 0o700, dir_fd=parent)
        descriptor = os.open(name, OPEN_FOLDER, dir_fd=parent)
    except NotADirectoryError:
        raise UntrustedError(f"{path} is a symbolic link or no folder; remove it") from None
    facts = os.fstat(descriptor)
    if facts.st_uid == os.geteuid() and not facts.st_mode & 0o077:
        return descriptor
    os.close(descriptor)
    if facts.st_uid != os.geteuid():
        raise UntrustedError(f"{path} belongs to user {facts.st_uid}, not to {os.geteuid()}; "
                        "set XDG_CACHE_HOME to a folder of your own")
    mode = f"{facts.st_mode & 0o7777:04o}"
    raise UntrustedError(f"{path} is open to other users (mode {mode}); chmod 700 {path}")


def modules() -> Iterator[Depends]:
    """pyjail's own loaded modules: another version, or an edited checkout, makes another plan."""
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and name.partition(".")[0] in ("jail", "rlimits", "seccomp"):
            yield fact(path)


def store(path: str, key_hex: str, key_field: str, plan: Plan, sources: Sources) -> bool:
    """Keep the plan under the key (as the front gives it: an escaped field) in the cache folder `path`.
    False if that cannot be done: a run never fails for its cache."""
    facts = (*sources.facts, *modules())
    if not sources.settled or len(facts) + len(plan.of(Depends)) > MAX_DEPENDS:
        return False
    key = Key(unescape(os.fsencode(key_field)))
    text = Plan((key, *facts, *plan.directives)).to_bytes()
    try:
        plans = open_plans(path, create=True)
    except (OSError, UntrustedError):
        return False
    try:
        write_plan(plans, key_hex, text)
        drop_oldest(plans)
    except OSError:
        return False
    finally:
        os.close(plans)
    return True


def write_plan(plans: int, name: str, text: bytes) -> None:
    """Write a file that appears whole."""
    temporary = f".{name}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=plans)
    try:
        with open(descriptor, "wb") as file:
            file.write(text)
        os.rename(temporary, name, src_dir_fd=plans, dst_dir_fd=plans)
    except OSError:
        os.unlink(temporary, dir_fd=plans)
        raise


def drop_oldest(plans: int, most: int = MAX_PLANS) -> None:
    """Keep the folder small: plans of old boots and of old versions are never asked for again."""
    names = os.listdir(plans)
    if len(names) <= most:
        return
    ages = sorted((os.lstat(name, dir_fd=plans).st_mtime_ns, name) for name in names)
    for _, name in ages[:len(names) - most]:
        remove(plans, name)


def remove(plans: int, name: str) -> None:
    """Remove one file, which another run may have removed already."""
    from contextlib import suppress
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=plans)


def clear(path: str) -> int:
    """Remove all cached plans; how many there were. Raises UntrustedError or OSError."""
    try:
        plans = open_plans(path, create=False)
    except FileNotFoundError:
        return 0
    try:
        names = os.listdir(plans)
        for name in names:
            remove(plans, name)
    finally:
        os.close(plans)
    return len(names)


def state(path: str) -> str:
    """What keeps the cache from being used, or "" if nothing does."""
    try:
        os.close(open_plans(path, create=False))
    except FileNotFoundError:
        return ""  # it is made by the first run
    except UntrustedError as error:
        return str(error)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def cache(action: str) -> int:
    """`pyjail cache clear` and `pyjail cache path`; the exit status."""
    from jail.settings import UsageError
    path = folder()
    if action == "path":
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
        problem = state(path)
        if problem:
            print(f"pyjail: not used: {problem}", file=sys.stderr)
        return 1 if problem else 0
    if action != "clear":
        raise UsageError(f"usage: pyjail cache clear|path, not {action!r}")
    try:
        number = clear(path)
    except (OSError, UntrustedError) as error:
        print(f"pyjail: cache not cleared: {error}", file=sys.stderr)
        return 1
    print(f"removed {number} cached plan{'' if number == 1 else 's'}")
    return 0
