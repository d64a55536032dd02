"""Starting jailers: `run` waits for one, `exec_jailer` becomes one."""

from __future__ import annotations

import os

from jail.errors import LaunchError, SpecError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from subprocess import Popen
    from typing import IO, NoReturn

    from jail.host import Host
    from jail.outcome import Outcome
    from jail.plan import Plan
    from jail.spec import Jail
    from seccomp import Program

    Stream = int | IO[bytes] | IO[str] | None

JAILER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jailer", "jailer")


def jailer_path() -> str:
    """The jailer's executable. Raises UnsupportedError where it is not installed."""
    if not os.access(JAILER, os.X_OK):
        raise UnsupportedError(
            "jailer", f"the executable {JAILER}", "run scripts/setup in a checkout, or reinstall pyjail-linux"
        )
    return JAILER


def run(
    argv: Sequence[str | bytes],
    *,
    jail: Jail | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    host: Host | None = None,
) -> Outcome:
    """Run a command in a jail and wait for its end.

    `argv` is the command and its arguments, found in the jail's PATH. `jail` is the default jail if left out.
    The streams are as in subprocess.run: None for the caller's own, a descriptor, a file or
    subprocess.DEVNULL; subprocess.PIPE is not offered, since nothing here reads it. `host` is probed if left
    out.

    A command that cannot be started is an outcome with exit code 126 or 127, not an exception.

    Raises SpecError or UnsupportedError for the jail, LaunchError where it could not be set up.
    """
    from jail.build import build_plan
    from jail.host import Host
    from jail.spec import Jail

    jail = jail if jail is not None else Jail()
    _check_argv(argv)
    _check_streams(stdin=stdin, stdout=stdout, stderr=stderr)
    _check_open(jail.pass_fds)
    program, host = load_program(jail), host if host is not None else Host.probe()
    reader, writer = os.pipe()
    with open(reader, "rb") as report:
        with open(writer, "wb", buffering=0):
            plan = build_plan(jail, argv, host, outcome=writer, program=program)
            process = _start(plan, (stdin, stdout, stderr), (writer, *jail.pass_fds))
        status = _wait(process)
        return _outcome(report.read(), status)


def load_program(jail: Jail) -> Program | None:
    """The filter that the jail names, or None for `off`. Raises SpecError."""
    if jail.seccomp == "off":
        return None
    import seccomp

    try:
        return seccomp.load(jail.seccomp, jail.strict)
    except (ValueError, OSError) as error:
        raise SpecError(str(error), "seccomp") from error
    except ImportError as error:
        raise UnsupportedError("seccomp", str(error), "install it, or use a shipped profile") from error


def exec_jailer(plan: Plan, words: Sequence[str | bytes] = ()) -> NoReturn:
    """Become the jailer, which runs the plan with the words added to its command. Raises LaunchError."""
    path = jailer_path()
    descriptor = _as_file(plan.to_bytes())
    os.set_inheritable(descriptor, True)
    try:
        os.execv(path, ["jailer", "run-fd", str(descriptor), *words])
    except OSError as error:
        os.close(descriptor)
        raise _not_started(error) from None


def _check_argv(argv: Sequence[str | bytes]) -> None:
    if isinstance(argv, (str, bytes)):
        raise SpecError(f"expected a list of words, got the text {argv!r}", "argv")
    if not argv or not argv[0]:
        raise SpecError("there is no command: the list, or its first word, is empty", "argv")


def _check_streams(**streams: Stream) -> None:
    import subprocess

    for name, stream in streams.items():
        if stream == subprocess.PIPE or (stream == subprocess.STDOUT and name != "stderr"):
            raise SpecError("expected None, a descriptor, a file or subprocess.DEVNULL", name)


def _check_open(descriptors: tuple[int, ...]) -> None:
    for number in descriptors:
        try:
            os.fstat(number)
        except OSError as error:
            raise SpecError(f"descriptor {number}: {error.strerror}", "pass_fds") from None


def _start(plan: Plan, streams: tuple[Stream, Stream, Stream], descriptors: tuple[int, ...]) -> Popen[bytes]:
    import subprocess

    path = jailer_path()
    descriptor = _as_file(plan.to_bytes())
    try:
        return subprocess.Popen(
            ["jailer", "run-fd", str(descriptor)],
            executable=path,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            pass_fds=(descriptor, *descriptors),
        )
    except OSError as error:
        raise _not_started(error) from None
    finally:
        os.close(descriptor)


def _wait(process: Popen[bytes]) -> int:
    """The jailer's status as subprocess has it."""
    try:
        return process.wait()
    except BaseException:  # KeyboardInterrupt above all: no jail outlives the call
        process.kill()
        process.wait()
        raise


def _as_file(text: bytes) -> int:
    """A descriptor, above the standard ones, from which the text can be read."""
    descriptor = os.memfd_create("pyjail-plan")
    low = []
    while descriptor <= 2:  # free numbers because the caller closed them; they must stay so
        low.append(descriptor)
        descriptor = os.dup(descriptor)
    for number in low:
        os.close(number)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _not_started(error: OSError) -> LaunchError:
    return LaunchError(
        f"cannot start the jailer {JAILER!r}: {error.strerror}",
        "jailer",
        error.errno or 0,
        "reinstall pyjail-linux for this machine",
        JAILER,
    )


def _outcome(text: bytes, status: int) -> Outcome:
    """What the jailer reported, as an outcome or a LaunchError."""
    from jail.outcome import Outcome

    if not text:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise LaunchError(f"the jailer {how} and reported nothing", "jailer", object=JAILER)
    try:
        outcome = Outcome.from_json(text)
    except ValueError:
        raise LaunchError(
            f"the jailer reported what is no outcome: {text!r}", "jailer", object=JAILER
        ) from None
    error = outcome.error
    if outcome.status == "setup-failed":
        if error is None:
            raise LaunchError("the jail could not be set up", "unknown")
        raise LaunchError(
            error.message or error.step, error.step, error.errno, error.hint, error.object, error.line
        )
    return outcome
