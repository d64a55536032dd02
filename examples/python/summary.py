"""A streaming aggregator: JSON lines in, running totals out.

    printf '%s\\n' '{"key":"a","value":2}' '{"key":"b","value":5}' '{"key":"a","value":1}' |
      pyjail run --ro-bind examples/python:/srv -- python3 /srv/summary.py

    {"key":"a","count":1,"sum":2}
    {"key":"b","count":1,"sum":5}
    {"key":"a","count":2,"sum":3}

Each answer leaves before the next question is read, so it serves a dialogue as well as a file. A line that
is not such an object ends the service with status 1 and the line's number on stderr.
"""

import json
import signal
import sys


def parse(line: bytes, number: int) -> tuple[str, float]:
    """The key and the value of one record."""
    try:
        record = json.loads(line)
    except ValueError as error:
        sys.exit(f"summary: line {number}: not JSON ({error})")
    match record:
        case {"key": str(key), "value": int() | float() as value} if not isinstance(value, bool):
            return key, value
    sys.exit(f'summary: line {number}: expected {{"key": string, "value": number}}')


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that leaves ends us quietly
    counts: dict[str, int] = {}
    sums: dict[str, float] = {}
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        key, value = parse(line, number)
        counts[key] = counts.get(key, 0) + 1
        sums[key] = sums.get(key, 0) + value
        total = {"key": key, "count": counts[key], "sum": sums[key]}
        print(json.dumps(total, separators=(",", ":")), flush=True)


main()
