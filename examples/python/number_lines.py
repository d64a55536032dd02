"""A streaming filter: lines in, the same lines with their numbers out.

    pyjail run --ro-bind examples/python:/srv -- python3 /srv/number_lines.py <letter.txt >numbered.txt

It works on bytes and holds at most one chunk and one unfinished line. Writing blocks while the reader is
slow, so nothing piles up and the input may be of any length; each line leaves as soon as it is whole.
"""

import os
import signal
import sys
from collections.abc import Iterator

CHUNK = 64 * 1024  # bytes: what a pipe holds


def lines(fd: int) -> Iterator[list[bytes]]:
    """The input's lines, those of one read together; the last one may lack its newline."""
    rest = b""
    while chunk := os.read(fd, CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        if whole:
            yield [line + b"\n" for line in whole]
    if rest:
        yield [rest]


def main() -> None:
    # A reader that has seen enough ends a filter quietly, as it ends cat(1); Python would raise instead.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    number = 0
    for batch in lines(sys.stdin.fileno()):
        for line in batch:
            number += 1
            sys.stdout.buffer.write(b"%6d  %b" % (number, line))
        sys.stdout.buffer.flush()


main()
