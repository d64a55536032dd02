"""For scripts that use the library: what they know of their serving jailer and of its standbys."""

SERVING = """
from jail import spawn
from jail.plans import plan_text

def server_of(process):
    "The pid of the serving jailer, found by a supervisor that runs."
    return int(open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()[1])

def children(pid):
    return {int(word) for word in open(f"/proc/{pid}/task/{pid}/children").read().split()}

def only_child(pid):
    "When those that have just ended are gone."
    while len(found := children(pid)) != 1:
        os.sched_yield()
    return found.pop()

def serving(box=Jail()):
    with jail.start(["/bin/cat"], stdin=PIPE, jail=box) as process:
        server = server_of(process)
        process.stdin.close()
        assert has_ended(process.pidfd)  # also its supervisor, which is a child of the jailer
        return server

def keep(count, box=Jail()):
    return spawn.launcher.keep(plan_text(box), count)

def run_ahead(words, box=Jail(), **options):
    "The outcome, and whether a jail that stood ready had the run."
    standing = children(server)
    with jail.start(words, jail=box, **options) as process:
        streams = process.communicate() if PIPE in options.values() else None
        assert has_ended(process.pidfd)
        return process.wait(), process.pid in standing, streams

def ended(pid):
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    return has_ended(pidfd)
"""
