"""Functions that the tests of `call` send into jails; they lie in a file beside the test's script."""

import math
import os
import os.path as paths
import sys
import time

CONSTANT = 3


def add(a, b=1):
    return a + b


def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


def facts(*args):
    print("printed")
    return {"args": args, "cwd": os.getcwd(), "root": math.sqrt(16), "base": paths.basename("/a/b"),
            "home": os.path.exists("/root") and bool(os.listdir("/home")), "uid": os.getuid()}


def fails(text):
    raise LookupError(f"about {text}")


def uses_constant():
    return CONSTANT


def no_json():
    return {1, 2}


def exits():
    sys.exit(3)


def quits(code):
    os._exit(code)


def sleeps():
    time.sleep(1000)


def too_much():
    return "x" * 3_000_000


def deep():
    os.write(3, b"[" * 500_000)
    os._exit(0)


def forged(text):
    os.write(3, text.encode())
    os._exit(0)


def closure():
    secret = 1

    def inner():
        return secret

    return inner
