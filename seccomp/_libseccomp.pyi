# The compiled module (see _build.py): cffi's handles are untyped, libseccomp.py gives them types.
from typing import Any

ffi: Any
lib: Any
