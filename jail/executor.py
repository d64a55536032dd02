"""`Executor`: many jails at a time, by the interface of `concurrent.futures`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, overload

from jail.outcome import Outcome
from jail.process import run
from jail.remote import call
from jail.spec import Jail


class Executor(futures.Executor):
    """Runs commands and functions, each in a jail of its own made as `jail` says, at most `max_workers` (as
    many as processors) at a time.

    What the command writes is captured unless `stdout` and `stderr` say something else. A jail that runs is
    not ended by `Future.cancel` nor by `shutdown`: give it `Limits.timeout`, or `timeout`.
    """

    def __init__(self, jail: Jail | None = None, max_workers: int | None = None) -> None:
        self._jail = jail
        self._pool = futures.ThreadPoolExecutor(max_workers or os.cpu_count(), thread_name_prefix="jail")

    @overload
    def submit(self, task: Callable[..., Any], /, *args: Any, **options: Any) -> futures.Future[Any]: ...

    @overload
    def submit(self, task: Sequence[str | bytes], /, **options: Any) -> futures.Future[Outcome]: ...

    def submit(self, task: Any, /, *args: Any, **options: Any) -> futures.Future[Any]:
        """A command, with the options of `run`, whose outcome the future holds; or a function and its
        arguments, with the options of `call`, whose result it holds."""
        options.setdefault("jail", self._jail)
        if callable(task):
            return self._pool.submit(call, task, *args, **options)
        if args:
            raise TypeError("a command is one list of words")
        if "stdout" not in options and "stderr" not in options:
            options.setdefault("capture_output", True)
        return self._pool.submit(run, task, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more tasks; wait for those that run, and for those that wait unless they are cancelled."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
