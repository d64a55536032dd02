"""`confine`: the calling process gives up rights, for good. See docs/confine.md."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

import prctl

from jail import spawn
from jail.errors import ConfineError, SpecError, UnsupportedError
from jail.landlock import TSYNC_ABI, Ruleset, abi
from rlimits import RESOURCES, Limits
from rlimits.limits import RULES, SAME
from rlimits.rlimit import Rlimit
from seccomp import Policy, PolicyError, Program, load
from seccomp.installer import available, install

_SETPCAP, _SYS_ADMIN, _SYS_RESOURCE = (1 << number for number in (8, 21, 24))
# python-prctl has a number of its own for the last one, and no name.
_CAPABILITIES: dict[str, int] = {
    **{name: getattr(prctl, f"CAP_{name.upper()}") for name in prctl.ALL_CAP_NAMES if name != "last_cap"},
    "checkpoint_restore": 40,
}
_DROPPABLE = sorted(set(prctl.ALL_CAPS))
_RLIMITS = {field: name for name, field in SAME.items() if field != "cpu_time"}  # which counts a whole jail

_Step = tuple[str, Callable[[], None]]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What was asked for, as far as the checks need it."""

    keep: int | None
    """The capabilities to keep as a set of bits; None leaves them alone."""
    no_new_privs: bool
    policy: bool
    landlock: int | None
    """The ABI of the kernel's Landlock, where that was asked for."""


def confine(
    *,
    policy: Policy | Program | str | os.PathLike[str] | None = None,
    landlock: Mapping[str | os.PathLike[str], str] | None = None,
    capabilities: Iterable[str] | None = (),
    no_new_privs: bool = True,
    limits: Limits | None = None,
) -> None:
    """Confine the calling process and all that it starts from now on. It cannot be undone.

    `policy`: the system calls that stay allowed, seccomp(2): a profile's name, the path of a policy file, a
    `seccomp.Policy` or `Program`. `landlock`: the paths that can still be opened, each "ro" (read, list,
    execute) or "rw", with all that lies beneath, landlock(7). `capabilities`: the names of those to keep,
    capabilities(7); None leaves them as they are. `no_new_privs`: executing a file gives no rights any more,
    set-user-ID or not, prctl(2). `limits`: those that hold for each process, setrlimit(2).

    Everything is checked before the first irreversible step. Then, in this order: limits, capabilities,
    no_new_privs, Landlock, seccomp. Every thread is confined, or none: threads share memory, so that one
    alone would be held by nothing.

    Not held: the process keeps its ids, namespaces, environment, memory and open descriptors; user 0 without
    capabilities still owns root's files.

    Raises SpecError for what makes no sense and UnsupportedError for what cannot be had, both before anything
    was done; ConfineError where a step fails nevertheless, with the steps that are in force: then the process
    should end.
    """
    own, others = _threads()
    program = _program(policy)
    rlimits = _rlimits(limits, own)
    keep = None if capabilities is None else _keep(capabilities, own)
    wanted = Wanted(keep, no_new_privs, program is not None, None if landlock is None else abi())
    with contextlib.ExitStack() as opened:
        # All that the steps read is opened before the first: nothing may be left to open afterwards.
        ruleset = None if landlock is None else opened.enter_context(contextlib.closing(Ruleset(landlock)))
        check_privilege(wanted, own)
        check_threads(wanted, own, others)
        status = opened.enter_context(_open_status("/proc/thread-self/status"))
        spawn.launcher.close()  # which is not confined, and would start what we no longer may
        steps: list[_Step] = []
        if rlimits:
            steps.append(("limits", lambda: _limit(rlimits)))
        if keep is not None:
            steps.append(("capabilities", lambda: _drop(own, keep, status)))
        if no_new_privs:
            steps.append(("no_new_privs", lambda: prctl.set_no_new_privs(1)))
        if ruleset is not None:
            steps.append(("landlock", lambda: ruleset.restrict(all_threads=bool(others))))
        if program is not None:
            steps.append(("seccomp", lambda: install(program)))
        _take(steps)


def _take(steps: list[_Step]) -> None:
    done: list[str] = []
    for name, act in steps:
        try:
            act()
        except (OSError, ValueError) as error:
            number, reason = (
                getattr(error, "errno", None) or 0,
                getattr(error, "strerror", None) or str(error),
            )
            raise ConfineError(name, number, reason, tuple(done)) from error
        done.append(name)


# ---- the threads, and whether all of it can be done ----

Thread = Mapping[str, int]


def _threads() -> tuple[Thread, list[Thread]]:
    """The calling thread, and the others: Python's own and those that libraries have started."""
    try:
        own = os.path.basename(os.readlink("/proc/thread-self"))
        threads = os.listdir("/proc/self/task")
    except OSError:
        raise UnsupportedError(
            "confine", "a /proc that shows this process", "mount one, or let an earlier landlock= name it"
        ) from None
    found = {}
    for thread in threads:
        try:
            with _open_status(f"/proc/self/task/{thread}/status") as file:
                found[thread] = _status(file)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
    return found.pop(own), list(found.values())


def _open_status(path: str) -> TextIO:
    return open(path, encoding="ascii", errors="replace")


def _status(file: TextIO) -> Thread:
    fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    hexadecimal = {name: int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    return hexadecimal | {
        name: int(fields.get(name, "0")) for name in ("Pid", "NoNewPrivs", "Seccomp_filters")
    }


def check_threads(wanted: Wanted, own: Thread, others: list[Thread]) -> None:
    """That every control reaches the other threads too: capabilities never do (see capabilities(7)), and
    no_new_privs does with a filter or with Landlock."""
    by_landlock = (wanted.landlock or 0) >= TSYNC_ABI
    for thread in others:
        held = thread["CapPrm"] | thread["CapInh"] | (0 if wanted.no_new_privs else thread["CapBnd"])
        if wanted.keep is not None and held & ~wanted.keep:
            _refuse_threads("capabilities", "a way to drop the capabilities of another thread", thread)
        if wanted.landlock is not None and not by_landlock:
            _refuse_threads("landlock", f"Landlock ABI {TSYNC_ABI}, which restricts every thread", thread)
        if wanted.no_new_privs and not (wanted.policy or by_landlock or thread["NoNewPrivs"]):
            _refuse_threads("no_new_privs", "a way to set it for another thread without a policy", thread)
        if wanted.policy and thread["Seccomp_filters"] != own["Seccomp_filters"]:
            _refuse_threads("policy", "a way to filter a thread that has filters of its own", thread)


def _refuse_threads(feature: str, needs: str, thread: Thread) -> None:
    raise UnsupportedError(
        feature,
        f"{needs} (there is thread {thread['Pid']})",
        "call confine() before other threads are started",
    )


def check_privilege(wanted: Wanted, own: Thread) -> None:
    """That the calling thread may do all of it, after it has dropped its capabilities."""
    effective = own["CapEff"] if wanted.keep is None else own["CapEff"] & wanted.keep
    filters = wanted.policy or wanted.landlock is not None
    if filters and not (wanted.no_new_privs or own["NoNewPrivs"] or effective & _SYS_ADMIN):
        raise SpecError(
            "policy and landlock need it, or the capability sys_admin among those that are kept",
            "no_new_privs",
        )
    if wanted.keep is None:
        return
    unknown = (own["CapPrm"] | own["CapInh"]) & ~sum(1 << number for number in _DROPPABLE)
    if unknown:
        raise UnsupportedError(
            "capabilities",
            f"a python-prctl that knows capability {unknown.bit_length() - 1}",
            "install python-prctl again, with this kernel's headers",
        )
    if own["CapBnd"] & ~wanted.keep and not own["CapEff"] & _SETPCAP and not wanted.no_new_privs:
        raise UnsupportedError(
            "capabilities",
            "the capability setpcap, without which set-user-ID programs would bring others back",
            "leave no_new_privs on",
        )


# ---- the steps: each is checked, later taken ----


def _program(policy: Policy | Program | str | os.PathLike[str] | None) -> Program | None:
    if policy is None:
        return None
    try:
        if isinstance(policy, Policy):
            policy = Program(policy.source or "policy", policy.compile())
        elif not isinstance(policy, Program):
            policy = load(policy)
    except TypeError:
        raise SpecError(
            f"expected a profile's name, a path, a Policy or a Program, got {policy!r}", "policy"
        ) from None
    except (PolicyError, OSError) as error:
        raise SpecError(str(error), "policy") from error
    if not available():
        raise UnsupportedError(
            "policy", "seccomp, or a filter in force forbids it", "boot a kernel with SECCOMP_FILTER"
        )
    return policy


def _keep(names: Iterable[str], own: Thread) -> int:
    """The set of these capabilities, which the thread has."""
    if not isinstance(names, Iterable):
        raise SpecError(f"expected names, got {names!r}", "capabilities")
    numbers = {}
    for name in [names] if isinstance(names, str) else names:
        number = _CAPABILITIES.get(str(name).lower().removeprefix("cap_"))
        if number is None:
            raise SpecError(f"no capability is called {name!r}; see capabilities(7)", "capabilities")
        numbers[name] = number
    for name, number in numbers.items():
        if not own["CapPrm"] >> number & 1:
            raise UnsupportedError(
                f"capabilities: {name}",
                "that one in this process's permitted set",
                "run as root, or leave it out",
            )
    return sum(1 << number for number in set(numbers.values()))


def _drop(own: Thread, keep: int, status: TextIO) -> None:
    """Leave no set of this thread more than `keep`. The bounding set only where it may be changed; else
    no_new_privs keeps execve(2) from giving anything back."""
    may_lock = own["CapEff"] & _SETPCAP
    if may_lock:
        for number in range(own["CapBnd"].bit_length()):
            if own["CapBnd"] & ~keep & (1 << number):
                prctl.capbset_drop(number)
        prctl.securebits.noroot = True  # user 0 gets nothing by executing a program
        prctl.securebits.noroot_locked = True
    lost = [number for number in _DROPPABLE if not keep >> number & 1]
    # The ambient set, which python-prctl does not know, can hold nothing that the inheritable set does not.
    prctl.set_caps(
        (lost, [prctl.CAP_EFFECTIVE, prctl.CAP_PERMITTED], False),
        (_DROPPABLE, prctl.CAP_INHERITABLE, False),
    )
    now = _status(status)
    left = (
        (now["CapPrm"] | now["CapEff"] | (now["CapBnd"] if may_lock else 0)) & ~keep
        | now["CapInh"]
        | now["CapAmb"]
    )
    if left:
        raise ValueError(f"the kernel still shows the capabilities {left:#x}")


def _rlimits(limits: Limits | None, own: Thread) -> list[Rlimit]:
    """The limits of setrlimit(2): name, soft and hard."""
    if limits is None:
        return []
    if not isinstance(limits, Limits):
        raise SpecError(f"expected Limits, got {limits!r}", "limits")
    wanted = {name: (soft, hard) for name, soft, hard in limits.rlimits}
    for field in (*RULES, "cpuset", "io_max"):
        value = getattr(limits, field)
        if value in (None, ()):
            continue
        if field not in _RLIMITS:
            known = ", ".join(sorted({*_RLIMITS, "rlimits"}))
            raise SpecError(
                f"it holds for a whole jail, not for one process; here are {known}", f"limits.{field}"
            )
        wanted[_RLIMITS[field]] = (value, value)
    return [_within(name, soft, hard, own) for name, (soft, hard) in wanted.items()]


def _within(name: str, soft: int, hard: int, own: Thread) -> Rlimit:
    """The limit, if this process may set it."""
    try:
        most = resource.getrlimit(number_of(name))[1]
    except OSError as error:
        raise UnsupportedError("limits", f"getrlimit(2): {error.strerror}", "allow it, or set none") from None
    if _above(hard, most) and not own["CapEff"] & _SYS_RESOURCE:
        raise UnsupportedError(
            f"limits: {name}", f"a hard limit above {most}", "ask for less, or raise it before (ulimit -H)"
        )
    return name, soft, hard


def number_of(name: str) -> int:
    """The kernel's number for a resource; Python has not all of them."""
    return list(RESOURCES).index(name)


def _above(value: int, most: int) -> bool:
    return most != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > most)


def _limit(limits: list[Rlimit]) -> None:
    for name, soft, hard in limits:
        resource.setrlimit(number_of(name), (soft, hard))
