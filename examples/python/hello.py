"""The smallest service: no input, one line of output.

    pyjail run --ro-bind examples/python:/srv -- python3 /srv/hello.py

As a program of its own that starts without pyjail's Python:

    pyjail compile -o hello.jail --ro-bind examples/python:/srv -- python3 /srv/hello.py
    ./hello.jail
"""

print("hello")
