"""`python -m seccomp.precompile FOLDER`: the shipped profiles as programs for this machine, next to them or
in a build folder.
"""

from __future__ import annotations

import os
import sys

from seccomp._errors import LibraryMissingError, PolicyError
from seccomp.program import compile_text, pack, profiles, stored_path

_PROFILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "profiles")


def precompile(folder: str = _PROFILES) -> list[str]:
    """Write `NAME.MACHINE.bpf` and `NAME.strict.MACHINE.bpf` for each profile; the paths written.

    PolicyError for a wrong profile, LibraryMissingError without libseccomp, OSError if the folder cannot be
    written.
    """
    from seccomp.libseccomp import library_version

    library = ".".join(map(str, library_version()))
    written = []
    for profile in profiles():
        source = os.path.join(_PROFILES, profile + ".toml")
        with open(source, "rb") as file:
            text = file.read()
        for strict in (False, True):
            path = stored_path(folder, profile, strict)
            temporary = f"{path}.{os.getpid()}"
            with open(temporary, "wb") as file:
                file.write(
                    pack(compile_text(text, source, strict), text, os.uname().machine, strict, library)
                )
            os.replace(temporary, path)
            written.append(path)
    return written


def main(argv: list[str]) -> int:
    """The command; its exit status."""
    if len(argv) > 1:
        print("usage: python -m seccomp.precompile [FOLDER]", file=sys.stderr)
        return 2
    try:
        precompile(*argv)
    except (PolicyError, LibraryMissingError, OSError) as error:
        print(f"seccomp.precompile: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
