"""`jail.run` and `jail.start`: streams, descriptors, limits of what is captured."""

from __future__ import annotations

from pathlib import Path

from support.scripts import Scripts


def test_output_is_captured_apart_and_together(scripts: Scripts) -> None:
    assert scripts.answer("""
words = ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]
apart = jail.run(words, capture_output=True)
one = jail.run(words, stdout=PIPE, stderr=STDOUT, text=True)
none = jail.run(words, stdout=DEVNULL, stderr=DEVNULL)
answer(apart=[apart.stdout.decode(), apart.stderr.decode(), apart.status, apart.exit_code, apart.returncode],
       one=[one.stdout, one.stderr], none=[none.stdout, none.stderr])
""") == {"apart": ["out\n", "err\n", "exited", 3, 3], "one": ["out\nerr\n", None], "none": [None, None]}


def test_streams_may_be_files_sockets_and_descriptors(scripts: Scripts, place: Path) -> None:
    found = scripts.answer("""
ours, theirs = socket.socketpair()
name = sys.argv[1] + "/out"
with open("/etc/hostname", "rb") as source, open(name, "wb") as out:
    done = jail.run(["/bin/sh", "-c", "cat; echo err >&2; echo more >&0"],
                    stdin=theirs, stdout=out.fileno(), stderr=theirs) if ours.send(b"in\\n") and not \
        ours.shutdown(socket.SHUT_WR) else None
theirs.close()
answer(out=open(name).read(), socket=ours.recv(99).decode(), status=done.returncode)
""", str(place))
    assert found == {"out": "in\n", "socket": "err\nmore\n", "status": 0}


def test_any_descriptor_may_be_any_stream(scripts: Scripts, place: Path) -> None:
    """Descriptors that are low numbers themselves, crossed over, are not mixed up."""
    found = scripts.answer("""
reader, writer = os.pipe()
os.write(writer, b"in")
os.close(writer)
saved = os.dup(1)
out, err = (os.open(sys.argv[1] + "/" + name, os.O_RDWR | os.O_CREAT, 0o600) for name in ("out", "err"))
os.dup2(out, 0), os.dup2(reader, 1), os.dup2(err, 3)
done = jail.run(["/bin/sh", "-c", "cat; echo err >&2"], stdin=1, stdout=0, stderr=3,
                jail=Jail(pass_fds=(5, 900)) if not (os.dup2(2, 5) and os.dup2(2, 900)) else Jail())
os.dup2(saved, 1)
read = lambda name: open(sys.argv[1] + "/" + name).read()
answer(out=read("out"), err=read("err"), status=done.returncode)
""", str(place))
    assert found == {"out": "in", "err": "err\n", "status": 0}


def test_a_closed_stdout_is_never_a_descriptor_of_ours(scripts: Scripts) -> None:
    """What we open gets the numbers of what the caller closed; the jail must not find it as its stderr."""
    assert scripts.answer("""
os.dup2(1, 90)
os.close(0), os.close(1)
try:
    found = jail.run(["/bin/sh", "-c", "echo '{}' >&2; exit 3"], stderr=STDOUT)
except jail.SpecError as error:
    found = str(error)
os.dup2(90, 1)
answer(found=str(found))
""") == {"found": "stdout: descriptor 1: Bad file descriptor"}


def test_a_caller_without_standard_streams(scripts: Scripts, place: Path) -> None:
    found = scripts.answer("""
saved = os.dup2(1, 90)
os.close(0), os.close(1), os.close(2)
done = jail.run(["/bin/sh", "-c", "echo out; echo err >&2"], stdout=PIPE, stderr=PIPE, text=True)
os.dup2(90, 1)
answer(found=[done.stdout, done.stderr, done.returncode])
""")
    assert found == {"found": ["out\n", "err\n", 0]}


def test_much_goes_both_ways_at_once(scripts: Scripts) -> None:
    """More than pipes hold, in and out: neither side waits for the other."""
    assert scripts.answer("""
data = os.urandom(1 << 20) * 5
done = jail.run(["/bin/cat"], input=data, capture_output=True)
answer(same=done.stdout == data, status=done.status, err=done.stderr.decode())
""") == {"same": True, "status": "exited", "err": ""}


def test_input_that_nobody_reads_is_no_error(scripts: Scripts) -> None:
    assert scripts.answer("""
answer(status=jail.run(["/bin/true"], input=bytes(1 << 20)).status)
""") == {"status": "exited"}


def test_text_is_text(scripts: Scripts) -> None:
    assert scripts.answer("""
words = ["/bin/sh", "-c", "cat; printf '\\\\377\\\\r\\\\n'"]
done = jail.run(words, input="ü", capture_output=True, text=True)
with jail.start(["/bin/cat"], stdin=PIPE, stdout=PIPE, text=True) as process:
    process.stdin.write("one\\n")
    process.stdin.flush()
    line = process.stdout.readline()
answer(out=done.stdout, line=line, ended=process.outcome.status)
""") == {"out": "ü�\n", "line": "one\n", "ended": "exited"}


def test_more_output_than_allowed_ends_the_jail(scripts: Scripts) -> None:
    found = scripts.answer("""
results = []
for words, most in ((["/bin/sh", "-c", "yes >&2"], 1000), (["/bin/sh", "-c", "yes"], 100_000),
                    (["/bin/echo", "1234"], 5), (["/bin/echo", "12345"], 5)):
    done = jail.run(words, capture_output=True, max_output=most)
    results.append([done.status, done.ok, len(done.stdout), len(done.stderr)])
try:
    jail.run(["yes"], capture_output=True, max_output=9, check=True)
except jail.PayloadFailed as error:
    answer(results=results, error=str(error), kept=error.outcome.stdout.decode())
""")
    assert found["results"] == [
        ["output-exceeded", False, 0, 1000],
        ["output-exceeded", False, 100_000, 0],
        ["exited", True, 5, 0],
        ["output-exceeded", False, 5, 0],
    ]
    assert "put out too much" in found["error"]
    assert found["kept"] == "y\ny\ny\ny\ny"


def test_limits_of_the_jail_on_its_output(scripts: Scripts) -> None:
    """Held by the supervisor, which then stands between the jail and the caller's pipes."""
    assert scripts.answer("""
box = Jail().with_limits(max_output=100)
much = jail.run(["/usr/bin/yes"], jail=box, capture_output=True)
box = Jail().with_limits(idle_timeout="300ms", grace=0)
idle = jail.run(["/bin/sh", "-c", "echo x; sleep 1000"], jail=box, capture_output=True)
data = os.urandom(1 << 20)
fits = jail.run(["/bin/cat"], jail=Jail().with_limits(max_output="1M"), input=data, capture_output=True)
with jail.start(["/usr/bin/yes"], jail=Jail().with_limits(max_output="1G"), stdout=PIPE) as process:
    process.stdout.read(10)
    process.kill()
    process.wait()  # or the pipe, when it is closed, may be faster
answer(much=[much.status, len(much.stdout)], idle=[idle.status, idle.stdout.decode()],
       fits=[fits.status, fits.stdout == data], killed=process.outcome.status)
""") == {
        "much": ["output-exceeded", 100],
        "idle": ["idle-timed-out", "x\n"],
        "fits": ["exited", True],
        "killed": "killed",
    }


def test_only_what_is_passed_is_open_inside(scripts: Scripts) -> None:
    """Nothing of the caller's, inheritable or not, and none of the descriptors that the supervisor has."""
    found = scripts.answer("""
stray = os.open("/", os.O_RDONLY)
os.set_inheritable(stray, True)
passed = os.dup2(os.open("/dev/null", os.O_RDONLY), 9)
code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
box = Jail(pass_fds=(passed,))
done = jail.run(["/usr/bin/python3", "-ISc", code], capture_output=True, text=True, jail=box)
answer(open=json.loads(done.stdout))
""")
    assert found["open"] == [0, 1, 2, 3, 9]  # 3 is the listing itself


def test_descriptors_get_the_numbers_that_are_asked_for(scripts: Scripts) -> None:
    """Whatever has these numbers in the caller, and from several threads at once."""
    assert scripts.answer("""
import concurrent.futures
def ask(number):
    (read, write), (theirs, ours) = os.pipe(), os.pipe()
    words = ["/bin/sh", "-c", "cat <&3 >&8; ls /proc/self/fd >&8"]
    with os.fdopen(read) as answers, os.fdopen(ours, "w") as question:
        with jail.start(words, descriptors={3: theirs, 8: write}):
            os.close(write), os.close(theirs)
            print(number, file=question, flush=True)
            question.close()
            return answers.read().split()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = list(pool.map(ask, range(20)))
answer(right=[words[0] == str(n) for n, words in enumerate(found)], open=found[0][1:])
""") == {"right": [True] * 20, "open": ["0", "1", "2", "3", "4", "8"]}


def test_output_that_left_the_jail_keeps_nobody_waiting(scripts: Scripts) -> None:
    """The command gives its stdout to somebody outside, who keeps it open: the end of the jail is the end."""
    assert scripts.answer("""
ours, theirs = socket.socketpair()
os.dup2(theirs.fileno(), 50)
code = '''import socket, array
with socket.socket(fileno=50) as way:
    socket.send_fds(way, [b"x"], [1, 2])
print("printed", flush=True)
'''
done = jail.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, jail=Jail(pass_fds=(50,)))
kept = socket.recv_fds(ours, 10, 2)[1]
answer(out=done.stdout, err=done.stderr, status=done.returncode, kept=len(kept))
""") == {"out": "printed\n", "err": "", "status": 0, "kept": 2}


def test_a_caller_without_descriptors_left_loses_none(scripts: Scripts) -> None:
    """Whichever of the descriptors of a start is one too many, the others are closed again."""
    assert scripts.answer("""
import errno, resource
jail.run(["/bin/true"], capture_output=True)  # all is imported
before = os.listdir("/proc/self/fd")
errors, runs = set(), 0
for more in range(40):
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 + more, 4096))
    try:
        runs += jail.run(["/bin/true"], input=b"x", capture_output=True).ok
    except OSError as error:
        errors.add(error.errno)
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
runs += jail.run(["/bin/true"]).ok  # by a serving jailer again
after = os.listdir("/proc/self/fd")
known = {errno.EMFILE, errno.EINVAL,  # the second where F_DUPFD may not go as high,
         errno.ETOOMANYREFS}  # this where as many are on their way to the jailer
answer(same=len(before) == len(after), errors=bool(errors) and errors <= known, some=1 < runs < 41)
""") == {"same": True, "errors": True, "some": True}
