"""Whether the mounts that this process sees have changed: what is made ahead has those of its time."""

from __future__ import annotations

import os
import select
import threading


class Changes:
    """Counts them, by a file that the kernel makes readable once for each (POLLPRI, proc(5))."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._forked)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._file, self._times = -1, 0
        self._opened: tuple[object, ...] | None = None

    def times(self) -> object:
        """What a mount, an unmount and other flags of a mount change; another each time if nobody tells."""
        with self._lock:
            try:
                if self._opened is None or self._opened != self._seen():
                    self._open()
                else:
                    poll = select.poll()
                    poll.register(self._file, select.POLLPRI)
                    self._times += bool(poll.poll(0))
            except OSError:
                return object()
            return self._times

    def _seen(self) -> tuple[object, ...]:
        """Where we are, and which file it is: somebody may have closed all, and others have the number."""
        found = os.fstat(self._file)
        return os.readlink("/proc/self/ns/mnt"), found.st_dev, found.st_ino

    def _open(self) -> None:
        self._close()
        self._times += 1
        self._file = os.open("/proc/self/mounts", os.O_RDONLY | os.O_CLOEXEC)
        self._opened = self._seen()

    def _close(self) -> None:
        try:
            if self._opened is not None and self._opened[1:] == self._seen()[1:]:
                os.close(self._file)
        except OSError:  # somebody else did
            pass
        self._opened = None

    def _forked(self) -> None:
        """The child has the same open file, which tells only one of the two."""
        self._close()
        self._begin()


changes = Changes()
