"""What makes no sense is refused with a message that names it; what is merely unusual passes unchanged."""

from __future__ import annotations

import ctypes
import os

import pytest
from jailed.refusal import refused

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
RAW = b"\xff\xfe caf\xe9 \x80\n\t\\040\x7f"


# The command


def test_nonexistent_command(pyjail):
    refused(pyjail.run("run", "--", "/no/such/command"), "/no/such/command", status=127)


@pytest.mark.parametrize("path", ["/usr", "/etc/passwd"])
def test_folder_or_file_that_is_no_program(pyjail, path):
    refused(pyjail.run("run", "--", path), path, status=126)


@pytest.mark.parametrize(
    "words", [("run",), ("run", "--"), ("run", "--memory", "64M"), ("run", "--memory", "64M", "--")]
)
def test_no_command(pyjail, words):
    refused(pyjail.run(*words), "command")


def test_an_empty_word_as_the_command(pyjail):
    refused(pyjail.run("run", "--", ""), status=127)


def test_empty_arguments_pass_through(pyjail):
    r = pyjail.run("run", "--", *PYTHON, "import sys; print(sys.argv[1:])", "", "a", "")
    assert r.stdout == b"['', 'a', '']\n"


def test_no_words_at_all(pyjail):
    """execve(2) with an empty argv: an error, not a crash. Linux makes one empty word of none."""
    code = """
import ctypes, os, sys
none = (ctypes.c_char_p * 1)()
ctypes.CDLL(None).execve(os.fsencode(sys.argv[1]), none, none)
"""
    r = pyjail.run("-c", code, pyjail.installation.pyjail, program="/usr/bin/python3")
    assert 0 < r.returncode < 128
    assert b"Traceback" not in r.stderr


def test_dashes_among_the_arguments_belong_to_the_command(pyjail):
    for words in (("--", "--memory", "x"), ("--help",), ("-o", "--")):
        r = pyjail.run("run", "--", *PYTHON, "import sys; print(sys.argv[1:])", *words)
        assert r.stdout.decode() == f"{list(words)}\n"


def test_without_dashes_the_first_word_ends_the_options(pyjail):
    r = pyjail.run("run", "/bin/echo", "--memory", "10X", "--")
    assert r.stdout == b"--memory 10X --\n"


@pytest.mark.parametrize("word", ["--memroy", "--", "-x", "--mem"])
def test_unknown_options(pyjail, word):
    words = ("run", word, "64M", "--", "/bin/true") if word != "--" else ("run", "--", "--memory")
    r = pyjail.run(*words)
    refused(r, word if word != "--" else "--memory", status=125 if word != "--" else 127)


@pytest.mark.parametrize("words", [("fly",), ("--fly",), ()])
def test_unknown_commands(pyjail, words):
    r = pyjail.run(*words)
    assert r.returncode not in (0, 126, 127)
    assert b"run" in r.stderr and b"Traceback" not in r.stderr


# Bytes


def test_nul_cannot_come_through_the_python_side(pyjail):
    """No argv of execve(2) holds a NUL, so only the library can be asked for one."""
    for call in (
        "jail.run(['/bin/echo', 'a\\0b'])",
        "jail.run(['/bin/true'], jail=jail.Jail(env=(('A', 'x\\0y'),)))",
        "jail.run(['/bin/true'], jail=jail.Jail(cwd='/tmp\\0/x'))",
    ):
        r = pyjail.run(
            "-c",
            f"import jail\ntry: {call}\nexcept jail.SpecError as error: print(error)\nelse: print('ran')",
            program=pyjail.installation.python,
        )
        assert r.returncode == 0, r.stderr
        assert b"NUL" in r.stdout


def test_empty_argv_in_the_library(pyjail):
    r = pyjail.run(
        "-c",
        "import jail\ntry: jail.run([])\nexcept jail.SpecError as error: print(error)",
        program=pyjail.installation.python,
    )
    assert b"command" in r.stdout


@pytest.mark.parametrize("cache", ["--no-cache", "--env=X=1"])
def test_bytes_that_are_no_text_pass_through(pyjail, place, cache):
    """Arguments, variables, values and paths: byte for byte, cold and cached."""
    folder = os.fsencode(place) + b"/" + RAW
    os.mkdir(folder)
    with open(folder + b"/f", "wb") as file:
        file.write(b"found")
    os.chmod(folder, 0o755)
    code = """
import os, sys
word = os.fsencode(sys.argv[1])
with open(b'/data/' + word + b'/f', 'rb') as file: content = file.read()
os.write(1, b'|'.join([word, os.environb[b'A'], os.environb[b'B'], content]))
"""
    for _ in range(2):
        r = pyjail.run(
            "run",
            cache,
            b"--env",
            b"A=" + RAW,
            "--env",
            "B",
            b"--ro-bind",
            folder.replace(b":", b"\\:") + b":/data/" + RAW,
            "--",
            *PYTHON,
            code,
            RAW,
            env={"B": os.fsdecode(RAW)},
        )
        assert (r.returncode, r.stdout) == (0, b"|".join([RAW, RAW, RAW, b"found"])), r.stderr


def test_a_cwd_that_is_no_text(pyjail, place):
    odd = os.path.join(os.fsencode(place), RAW)
    os.mkdir(odd)
    os.chmod(odd, 0o755)
    for _ in range(2):
        assert (
            pyjail.run("run", "--ro-bind", ".:/data", "--", "/bin/ls", "-A", "/data", cwd=odd).returncode == 0
        )


def test_a_long_value(pyjail):
    value = "x" * 100_000  # the kernel's own bound for one string is 128 KiB
    for _ in range(2):
        r = pyjail.run("run", "--env", f"A={value}", "--", *SH, 'printf %s "$A" | wc -c')
        assert r.stdout.strip() == b"100000", r.stderr[:500]


@pytest.mark.parametrize(
    "option", [("--cwd", "/usr/" + "d/" * 3000), ("--ro-bind", "/usr/" + "e" * 300), ("--hostname", "h" * 65)]
)
def test_names_that_are_too_long(pyjail, option):
    r = pyjail.run("run", *option, "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"Traceback" not in r.stderr and r.stderr


# Many


def test_a_hundred_thousand_arguments(pyjail):
    for option in ("--no-cache", "--env=X=1"):
        r = pyjail.run("run", option, "--", *SH, "echo $#", "sh", *["a"] * 100_000)
        assert r.stdout == b"100000\n", r.stderr[:500]


def test_a_thousand_binds(pyjail, place):
    (place / "f").write_text("x\n")
    binds = [word for n in range(1000) for word in ("--ro-bind", f"{place}/f:/many/{n}")]
    for _ in range(2):
        r = pyjail.run("run", *binds, "--", *SH, "cat /many/* | wc -l")
        assert (r.returncode, r.stdout.strip()) == (0, b"1000"), r.stderr[:500]


# Binds


def test_bind_source_missing(pyjail, place):
    refused(pyjail.run("run", "--ro-bind", f"{place}/absent:/x", "--", "/bin/echo", "ran"), f"{place}/absent")


def test_bind_source_missing_is_passed_over_where_that_was_said(pyjail, place):
    r = pyjail.run("run", "--ro-bind-try", f"{place}/absent:/x", "--", *SH, "test ! -e /x && echo none")
    assert r.stdout == b"none\n", r.stderr


def test_bind_source_is_a_fifo(pyjail, place):
    """Bound, never opened: nothing waits for a writer."""
    os.mkfifo(place / "fifo", 0o666)
    os.chmod(place / "fifo", 0o666)
    r = pyjail.run("run", "--ro-bind", f"{place}/fifo:/pipe", "--", *SH, "test -p /pipe && echo fifo")
    assert r.stdout == b"fifo\n", r.stderr


def test_bind_source_is_a_symlink_loop(pyjail, place):
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    refused(
        pyjail.run("run", "--ro-bind", f"{place}/a:/x", "--", "/bin/echo", "ran"),
        f"{place}/a",
        "symbolic link",
    )


def test_bind_source_is_a_folder_that_may_not_be_entered(ordinary_pyjail):
    refused(ordinary_pyjail.run("run", "--ro-bind", "/root/x:/x", "--", "/bin/echo", "ran"), "/root/x")


@pytest.mark.parametrize("target", ["..", "/..", "/a/../b", "../etc", "/usr/../tmp", "relative", ""])
def test_bind_destination_is_no_plain_absolute_path(pyjail, place, target):
    refused(pyjail.run("run", "--ro-bind", f"{place}:{target}", "--", "/bin/echo", "ran"), "bind")


def test_bind_destination_is_the_root(pyjail, place):
    refused(pyjail.run("run", "--bind", f"{place}:/", "--", "/bin/echo", "ran"), "/", "--root")


def test_bind_destination_twice(pyjail, place):
    (place / "one").mkdir()
    (place / "two").mkdir()
    refused(
        pyjail.run(
            "run", "--bind", f"{place}/one:/x", "--ro-bind", f"{place}/two:/x", "--", "/bin/echo", "ran"
        ),
        "/x",
    )


@pytest.mark.parametrize("target", ["/proc/self", "/proc", "/dev", "/dev/null"])
def test_bind_over_what_the_jail_is_made_of(pyjail, place, target):
    """Either refused, or done so that the jail's own /proc and /dev are not undone in silence."""
    r = pyjail.run("run", "--ro-bind", f"{place}:{target}", "--", "/bin/echo", "ran")
    assert r.returncode in (0, 125)
    assert b"Traceback" not in r.stderr
    if r.returncode == 125:
        refused(r, target)


def test_a_file_over_a_folder(pyjail, place):
    (place / "f").write_text("")
    refused(pyjail.run("run", "--ro-bind", f"{place}/f:/usr", "--", "/bin/echo", "ran"), "/usr")


def test_a_target_below_a_read_only_bind(pyjail, place):
    """No mount point can be made there; said with the path."""
    r = pyjail.run("run", "--ro-bind", f"{place}:/usr/local/no/such", "--", "/bin/echo", "ran")
    refused(r, "/usr/local/no/such")


# Descriptors


def test_outcome_descriptor_is_closed(pyjail):
    refused(pyjail.run("run", "--outcome-fd", "77", "--", "/bin/echo", "ran"), "77")


def test_passed_descriptor_is_closed(pyjail):
    refused(pyjail.run("run", "--pass-fd", "77", "--", "/bin/echo", "ran"), "77")


def test_outcome_descriptor_is_read_only(pyjail, place):
    (place / "f").write_text("")
    with open(place / "f", "rb") as file:
        r = pyjail.run(
            "run", "--outcome-fd", str(file.fileno()), "--", "/bin/echo", "ran", pass_fds=[file.fileno()]
        )
    refused(r, "outcome")


def test_outcome_file_cannot_be_made(pyjail, place):
    refused(pyjail.run("run", "--outcome", place / "no" / "such", "--", "/bin/echo", "ran"), "no/such")


def test_stderr_is_closed(pyjail):
    """The message has nowhere to go: the status still tells, and nothing crashes."""
    r = pyjail.run(
        "-c",
        'exec 2>&-; exec "$@"',
        "sh",
        pyjail.installation.pyjail,
        "run",
        "--memory",
        "10X",
        "--",
        "/bin/true",
        program="/bin/sh",
    )
    assert r.returncode == 125


def test_an_environment_without_home_or_path(pyjail):
    r = pyjail.run("-i", pyjail.installation.pyjail, "run", "--", "/bin/echo", "ran", program="/usr/bin/env")
    assert (r.returncode, r.stdout) == (0, b"ran\n"), r.stderr


def test_the_kernels_own_bound_for_arguments(pyjail):
    """More than fits is E2BIG before pyjail is reached; what just fits is run, or refused in words."""
    libc = ctypes.CDLL(None)
    size = min(libc.sysconf(0), 2 << 20)  # _SC_ARG_MAX
    words = ["x" * 1000] * (size // 1100)
    r = pyjail.run("run", "--", *SH, "echo $#", "sh", *words)
    assert r.stdout == f"{len(words)}\n".encode() or (
        r.returncode in (125, 126) and b"rgument" in r.stderr
    ), r.stderr[:300]
