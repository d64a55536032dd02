"""Jails in shell pipelines, and many of them under xargs and GNU parallel."""

from __future__ import annotations

import os

BASH = ("-euo", "pipefail", "-c")


def shell(pyjail, script: str, **options):
    """Run a script of bash outside in which $pyjail is the command."""
    return pyjail.run(
        *BASH, script, program="/bin/bash", env={"pyjail": str(pyjail.installation.pyjail)}, **options
    )


def test_a_pipeline_of_three_jails(pyjail):
    script = """
        "$pyjail" run -- seq 1 200000 | "$pyjail" run -- grep 7 | "$pyjail" run -- wc -l
        echo "${PIPESTATUS[*]}"
        seq 1 200000 | grep 7 | wc -l; echo "${PIPESTATUS[*]}" """
    r = shell(pyjail, script)
    lines = r.stdout.split(b"\n")
    assert r.returncode == 0, r.stderr
    assert lines[:2] == lines[2:4]


def test_statuses_in_a_pipeline(pyjail):
    script = """set +e
        "$pyjail" run -- sh -c "exit 3" | "$pyjail" run -- cat | "$pyjail" run -- sh -c "exit 5"
        echo "${PIPESTATUS[*]}" """
    assert shell(pyjail, script).stdout == b"3 0 5\n"


def test_a_pipeline_whose_end_leaves(pyjail):
    script = """set +e
        "$pyjail" run -- yes | "$pyjail" run -- cat | "$pyjail" run -- head -n 1
        echo "${PIPESTATUS[*]}" """
    assert shell(pyjail, script).stdout == b"y\n141 141 0\n"


def test_process_substitution_and_here_documents(pyjail):
    script = """
        diff <("$pyjail" run -- seq 5) <(seq 5)
        "$pyjail" run -- cat <<<"here"
        x=$("$pyjail" run -- echo captured) && echo "$x" """
    r = shell(pyjail, script)
    assert (r.returncode, r.stdout) == (0, b"here\ncaptured\n"), r.stderr


def test_a_loop_reads_on_after_a_jail(pyjail):
    """The jail in a `while read` loop does not eat the loop's input, unless the payload reads it."""
    r = shell(pyjail, 'printf "a\\nb\\nc\\n" | while read -r x; do "$pyjail" run -- echo "got $x"; done')
    assert r.stdout == b"got a\ngot b\ngot c\n"


def test_set_e_and_conditions(pyjail):
    r = shell(
        pyjail,
        'if "$pyjail" run -- false; then echo yes; else echo no; fi; "$pyjail" run -- false; echo unreached',
    )
    assert (r.returncode, r.stdout) == (1, b"no\n")


def test_xargs(pyjail):
    r = shell(pyjail, "seq 40 | xargs -P 4 -n 1 \"$pyjail\" run -- sh -c 'echo $(($1 * $1))' sh")
    assert r.returncode == 0, r.stderr
    assert sorted(map(int, r.stdout.split())) == [n * n for n in range(1, 41)]


def test_xargs_stops_at_255(pyjail):
    r = shell(pyjail, 'set +e; seq 3 | xargs -n 1 "$pyjail" run -- sh -c "exit 255"; echo $?')
    assert r.stdout == b"124\n"


def test_gnu_parallel(pyjail, place):
    """In order, with the input divided among jailed filters, and the log with each status."""
    log = place / "log"
    script = f"""
        job() {{ "$pyjail" run -- sh -c "exit $(($1 % 3))"; }}; export -f job
        seq 40 | parallel --will-cite -j 4 -k --joblog {log} job || test $? -gt 0 """
    r = shell(pyjail, script)
    assert r.returncode == 0, r.stderr
    statuses = [int(line.split("\t")[6]) for line in log.read_text().splitlines()[1:]]
    assert sorted(statuses) == sorted(n % 3 for n in range(1, 41))
    r = shell(pyjail, 'seq 100000 | parallel --will-cite --pipe -j 4 --block 64k "$pyjail" run -- wc -l')
    assert sum(map(int, r.stdout.split())) == 100_000, r.stderr


def test_timeout_and_nice_around_a_jail(pyjail):
    assert shell(pyjail, 'set +e; timeout -s INT 0.3 "$pyjail" run -- sleep 1000; echo $?').stdout == b"124\n"
    assert shell(pyjail, 'nice -n 5 "$pyjail" run -- nice').stdout == b"%d\n" % min(os.nice(0) + 5, 19)


def test_make_runs_jails_in_parallel(pyjail, place):
    os.chmod(place, 0o777)
    (place / "Makefile").write_text("all: a b c d\n%:\n\t$(pyjail) run -- echo made $@ >$@\n")
    r = shell(pyjail, f"make -s -j4 -C {place}")
    assert r.returncode == 0, r.stderr
    assert [(place / name).read_text() for name in "abcd"] == [f"made {name}\n" for name in "abcd"]
