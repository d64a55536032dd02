"""Runs libseccomp's regression scripts with whichever `seccomp` is first on the path, each in a fork.

usage: python upstream_runner.py FOLDER [PATH]
stdin: a list of [script, argument…] in JSON; stdout: a result for each

Stands alone: libseccomp's own binding needs the system's Python, which cannot see the tests.
"""

import json
import os
import runpy
import sys
import tempfile


def run(folder, script, arguments):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = [script, *arguments]
            try:
                runpy.run_path(os.path.join(folder, script), run_name="__main__")
                status = 0
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
                status = 1
            try:
                sys.stdout.flush()
            except OSError:
                status = 120
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"status": status, "out": out.read().hex(), "err": err.read().decode()}


def main():
    folder = sys.argv[1]
    sys.path[:0] = [*sys.argv[2:], folder]
    import seccomp

    results = [run(folder, script, arguments) for script, *arguments in json.load(sys.stdin)]
    json.dump({"file": seccomp.__file__, "results": results}, sys.stdout)


if __name__ == "__main__":
    main()
