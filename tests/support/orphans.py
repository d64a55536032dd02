"""Starts a program many times, kills it at a growing delay, and checks that all of its descendants end.

Run as a program of its own, as whoever is to start the jails: it makes itself the subreaper of its
descendants, so whatever a killed supervisor leaves behind becomes its child, and waiting until there is no
child left proves that nothing lives. Prints one line of JSON: the delays (microseconds) after which something
was still alive.

orphans.py SECONDS LAST_DELAY COUNT -- COMMAND…
"""

import ctypes
import json
import os
import select
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def start(command):
    """A started process. stdin is a pipe that stays open, so that nothing ends by itself."""
    reader, writer = os.pipe()
    child = os.posix_spawn(
        command[0], command, dict(os.environ), file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)]
    )
    os.close(reader)
    return child, writer


def spin(microseconds):
    end = time.perf_counter_ns() + microseconds * 1000
    while time.perf_counter_ns() < end:
        pass


def reap_all(seconds):
    """Wait for every child, adopted ones too; the pids of those alive after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid:
            continue
        with open("/proc/self/task/%d/children" % os.getpid()) as children:
            alive = [int(word) for word in children.read().split()]
        left = end - time.monotonic()
        if left <= 0:
            return alive
        poll = select.poll()
        held = []
        for pid in alive:
            held.append(os.pidfd_open(pid))
            poll.register(held[-1], select.POLLIN)
        poll.poll(left * 1000)
        for pidfd in held:
            os.close(pidfd)


def main():
    seconds, last, count = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    command = sys.argv[5:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    survived = []
    for step in range(count):
        delay = last * step // max(count - 1, 1)
        child, writer = start(command)
        spin(delay)
        os.kill(child, signal.SIGKILL)
        for pid in reap_all(seconds):
            survived.append(delay)
            os.kill(pid, signal.SIGKILL)
        reap_all(60)
        os.close(writer)
    print(json.dumps({"survived": survived, "runs": count}))


main()
