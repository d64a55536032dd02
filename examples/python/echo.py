"""A service with a parameter: it answers with the value of PARAM.

    pyjail run --env PARAM='good morning' --ro-bind examples/python:/srv -- python3 /srv/echo.py

The parameter is data in the environment: no shell reads it, whatever characters it holds.
"""

import os
import sys

param = os.environb.get(b"PARAM")
if param is None:
    sys.exit("echo: no PARAM in the environment; pass one with --env PARAM=VALUE")
sys.stdout.buffer.write(param + b"\n")
