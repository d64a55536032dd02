"""A gibibyte through jailed filters arrives byte for byte, whatever its reader does."""

from __future__ import annotations

import fcntl
import hashlib
import random
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

GIB = 1 << 30
MIB = 1 << 20
BLOCK = 64 * 1024
# Four times the same 16 KiB: compressible, so that gzip takes seconds and not a minute.
NOISE = random.Random(2).randbytes(BLOCK // 4 - 2) * 4


def blocks(size: int) -> Iterator[bytes]:
    for number in range(size // BLOCK):
        yield number.to_bytes(8, "big") + NOISE


def feed(sink: IO[bytes], size: int) -> threading.Thread:
    """Write `size` bytes to `sink` in a thread; its `digest` is that of what was written."""

    def work() -> None:
        digest = hashlib.sha256()
        try:
            with sink:
                for block in blocks(size):
                    digest.update(block)
                    rest = memoryview(block)
                    while rest:  # what is not buffered may be written in part
                        rest = rest[sink.write(rest) :]
        except BrokenPipeError:
            pass
        thread.digest = digest.hexdigest()  # type: ignore[attr-defined]

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def filters(pyjail, *commands: tuple[str, ...]) -> list[subprocess.Popen[bytes]]:
    """Jails connected by pipes; nobody but they and the test hold the ends."""
    chain: list[subprocess.Popen[bytes]] = []
    for command in commands:
        source = chain[-1].stdout if chain else subprocess.PIPE
        chain.append(pyjail.popen("run", "--", *command, stdin=source, stdout=subprocess.PIPE, bufsize=0))
        if len(chain) > 1:
            chain[-2].stdout.close()
    return chain


def digest_of(source: IO[bytes], chunk: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while got := source.read(chunk):
        digest.update(got)
        size += len(got)
    return digest.hexdigest(), size


def test_a_gibibyte_through_gzip_and_gunzip(pyjail):
    chain = filters(pyjail, ("/bin/gzip", "-1"), ("/bin/gunzip",))
    feeder = feed(chain[0].stdin, GIB)
    seen, size = digest_of(chain[-1].stdout, 1 << 20)
    feeder.join()
    assert [process.wait(60) for process in chain] == [0, 0]
    chain[-1].stdout.close()
    assert (size, seen) == (GIB, feeder.digest)


def test_a_gibibyte_from_file_to_file(pyjail, place):
    """Regular files as stdin and stdout: the payload works on the files themselves."""
    with open(place / "in", "wb") as file:
        file.writelines(blocks(GIB // 4))
    with open(place / "in", "rb") as source, open(place / "out", "wb") as sink:
        assert pyjail.run("run", "--", "/bin/cat", stdin=source, stdout=sink).returncode == 0
    with open(place / "in", "rb") as one, open(place / "out", "rb") as two:
        assert digest_of(one, MIB) == digest_of(two, MIB)


def test_a_slow_reader(pyjail):
    """One page in the pipe, a few hundred bytes a read: the jails wait, and nothing is lost."""
    chain = filters(pyjail, ("/bin/gzip", "-1"), ("/bin/gunzip",))
    fcntl.fcntl(chain[-1].stdout.fileno(), fcntl.F_SETPIPE_SZ, 4096)
    feeder = feed(chain[0].stdin, 64 * MIB)
    seen, size = digest_of(chain[-1].stdout, 499)
    feeder.join()
    assert [process.wait(60) for process in chain] == [0, 0]
    chain[-1].stdout.close()
    assert (size, seen) == (64 * MIB, feeder.digest)


def test_a_reader_that_closes_early(pyjail):
    """The end goes up the chain as without jails: each writer finds its pipe broken; nobody hangs."""
    chain = filters(pyjail, ("/bin/cat",), ("/bin/cat",))
    feeder = feed(chain[0].stdin, GIB)
    assert len(chain[-1].stdout.read(1000)) == 1000
    chain[-1].stdout.close()
    statuses = [process.wait(60) for process in chain]
    feeder.join()
    assert statuses == [128 + 13, 128 + 13]
