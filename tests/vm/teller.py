"""A pytest plugin for the run inside the machine: tells each test's result in a line of its own.

Only output comes back from there, and the machine may go down at any moment: what was told until then counts.
"""

from __future__ import annotations

import json

import pytest

MARK = "@@result "


class Teller:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.worst: dict[str, tuple[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of set-up, call and teardown the first that did not pass."""
        if report.nodeid not in self.worst or self.worst[report.nodeid][0] == "passed":
            self.worst[report.nodeid] = (report.outcome, _message(report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        outcome, message = self.worst.pop(nodeid)
        writer = self.config.get_terminal_writer()
        writer.line()
        writer.line(MARK + json.dumps([nodeid, outcome, message]))
        writer.flush()


def _message(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message) if crash else report.longreprtext


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Teller(config))
