"""The `pyjail` command: everything that a person types.

Nothing here decides what a jail is made of; the commands turn words and a configuration file into a
`jail.spec.Jail` and hand that to the library. `main` is the entry point and `front` the one that the native
front starts when it has no cached plan.
"""

from __future__ import annotations

from jail.cli.command import front, main

__all__ = ["front", "main"]
