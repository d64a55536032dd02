"""`Executor`: many jails at a time, by the interface of `concurrent.futures`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent import futures
from typing import Any, overload

from jail import spawn
from jail.outcome import Outcome
from jail.process import run
from jail.remote import call
from jail.spec import Jail
from jail.started import Begun, Place, Wait, Wanted, beginning


class Executor(futures.Executor):
    """Runs commands and functions, each in a jail of its own made as `jail` says, at most `max_workers` (as
    many as processors) at a time.

    What the command writes is captured unless `stdout` and `stderr` say something else. A jail that runs is
    not ended by `Future.cancel`: give it `Limits.timeout`, or `timeout`. `jail` may be a Pool.
    """

    def __init__(self, jail: Jail | Place | None = None, max_workers: int | None = None) -> None:
        self._jail = jail
        self._lock = threading.Lock()
        self._running: dict[_Watched, spawn.Running] = {}
        self._cancelled = False
        self._pool = futures.ThreadPoolExecutor(max_workers or os.cpu_count(), thread_name_prefix="jail")

    @overload
    def submit(self, task: Callable[..., Any], /, *args: Any, **options: Any) -> futures.Future[Any]: ...

    @overload
    def submit(self, task: Sequence[str | bytes], /, **options: Any) -> futures.Future[Outcome]: ...

    def submit(self, task: Any, /, *args: Any, **options: Any) -> futures.Future[Any]:
        """A command, with the options of `run`, whose outcome the future holds; or a function and its
        arguments, with the options of `call`, whose result it holds."""
        if callable(task):
            return self._pool.submit(self._work, call, task, *args, **options)
        if args:
            raise TypeError("a command is one list of words")
        if "stdout" not in options and "stderr" not in options:
            options.setdefault("capture_output", True)
        return self._pool.submit(self._work, run, task, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more tasks; wait for those that run, and for those that wait. With `cancel_futures` the latter
        are cancelled, and the jails of those that run killed: a command's outcome is `killed`, a function's
        future holds PayloadFailed."""
        if cancel_futures:
            with self._lock:
                self._cancelled = True
            self._pool.shutdown(wait=False, cancel_futures=True)  # before a thread has its hands free
            with self._lock:
                running = list(self._running.values())
            for each in running:
                each.kill()
        self._pool.shutdown(wait)

    def _work(self, act: Callable[..., Any], *args: Any, **options: Any) -> Any:
        place = _Watched(self, options.pop("jail", self._jail))
        try:
            return act(*args, jail=place, **options)
        finally:
            with self._lock:
                self._running.pop(place, None)

    def _begun(self, place: _Watched, running: spawn.Running) -> None:
        with self._lock:
            self._running[place] = running
            too_late = self._cancelled
        if too_late:
            running.kill()


class _Watched(Place):
    """Where a task runs, told to the executor."""

    def __init__(self, executor: Executor, jail: Jail | Place | None) -> None:
        self._executor, self._jail = executor, jail

    @property
    def runner(self) -> object:
        return getattr(self._jail, "runner", None)

    def beginning(self, wanted: Wanted) -> Generator[Wait, None, Begun]:
        begun = yield from beginning(self._jail, wanted)
        self._executor._begun(self, begun[0])
        return begun
