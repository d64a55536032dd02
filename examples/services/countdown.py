"""A generator: each line leaves when it is there.

    pyjail service run --param from=3 examples/services/countdown.py
"""

import time


def handler(req, res):
    res.headers["Content-Type"] = "text/plain"
    for number in range(int(req.params.get("from", "3")), 0, -1):
        yield f"{number}\n"
        time.sleep(0.1)
    yield "go\n"
