"""A program for the inside of a jail: all that it can see of itself and its place, as one line of JSON."""

import json
import os
import resource
import socket
import sys

KEPT = ("Sig", "Shd", "Cap", "NoNewPrivs", "Seccomp", "Cpus", "NSpid", "TracerPid")


def content(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return error.errno


def tree():
    for top in ("/tmp", "/dev", "/etc", "/run", "/home", "/work"):
        for at, folders, names in os.walk(top):
            if not at.startswith(("/etc/ssl", "/etc/alternatives")):
                yield from (os.path.join(at, name) for name in folders + names)


def main():
    status = content("/proc/self/status").splitlines()
    limits = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    found = {
        "argv": sys.argv,
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "pids": [os.getpid(), os.getppid(), os.getsid(0), os.getpgid(0)],
        "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
        "host": socket.gethostname(),
        "umask": os.umask(0),
        "limits": {name: resource.getrlimit(number) for name, number in limits.items()},
        "status": [line for line in status if line.startswith(KEPT) and not line.startswith("SigQ")],
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "streams": [os.readlink(f"/proc/self/fd/{number}").split(":")[0] for number in range(3)],
        "stdin": sys.stdin.read(),
        # Listed as they were made, which the supervisor and the jail's side do at the same time.
        "mounts": sorted(line.split(" ", 4)[-1] for line in content("/proc/self/mountinfo").splitlines()),
        "tree": sorted(tree()),
        "cgroup": [line.split(":", 2)[1:] for line in content("/proc/self/cgroup").splitlines()],
        "interfaces": content("/proc/net/dev").count("\n"),
        "init": [content("/proc/1/cmdline"), content("/proc/1/environ")],
        "processes": sorted(filter(str.isdigit, os.listdir("/proc"))),
        "oom": content("/proc/self/oom_score_adj"),
        "clocks": content("/proc/self/timens_offsets"),
        "nice": os.nice(0),
    }
    print(json.dumps(found))


main()
