"""`pyjail run` and `pyjail plan`: from settings to the plan, and from there to the jailer in this process's
place."""

from __future__ import annotations

import sys

from jail.build import build_plan
from jail.cli.cache import folder, store
from jail.cli.parse import Parsed
from jail.host import Host
from jail.launch import exec_jailer, load_program
from jail.settings import UsageError
from jail.sources import Sources, lasting, policies_of
from jail.tojail import host_path, make_jail, make_name, make_outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jail.plan import Plan
    from jail.settings import Setting


def run(parsed: Parsed, key: tuple[str, str] | None,
        become: Callable[[Plan, Sequence[str]], object] = exec_jailer) -> int:
    """Build the plan, keep it under the key, become the jailer. Comes back only by an error, or if `become`
    does.

    The plan holds no command: the same plan serves every command, which the jailer gets as words.
    """
    check_command("run", parsed.words)
    sources = Sources()
    plan = plan_of(parsed, (), sources)
    if key is not None and parsed.dashes and not parsed.last("no-cache"):
        store(folder(), *key, plan, sources)
    become(plan, parsed.words)
    return 0


def show_plan(parsed: Parsed) -> int:
    """Print the plan as the jailer would read it."""
    sys.stdout.buffer.write(lasting(plan_of(parsed, parsed.words, Sources())).to_bytes())
    return 0


def check_command(name: str, words: Sequence[str]) -> None:
    """There must be something to run. That it is there, and no empty word, is the jailer's to find (127)."""
    if not words:
        raise UsageError(f"no command given; usage: pyjail {name} [options] [--] COMMAND [ARG...]")


def plan_of(parsed: Parsed, command: Sequence[str], sources: Sources) -> Plan:
    """The plan for the settings, those of a configuration file first. `sources` learns of each file read."""
    settings = settings_of(parsed, sources)
    jail = make_jail(settings)
    for policy in policies_of(jail):
        sources.add(policy)
    program = load_program(jail)
    host = Host.probe(jail)
    sources.add_cgroups(host)
    sources.add_schedulers(jail)
    asked = {setting.option.name for setting in settings}
    return build_plan(jail, command, host, outcome=make_outcome(settings), program=program,
                      name=make_name(settings),
                      stats="stats" in asked, notify="notify" in asked, listen_fds="listen-fds" in asked)


def settings_of(parsed: Parsed, sources: Sources) -> list[Setting]:
    """The settings of the configuration file, if there is one, and of the command line."""
    config = parsed.last("config")
    if config is None:
        return parsed.settings
    from jail.configfile import read_config
    path = host_path(config, config.text)
    sources.add(path)
    return read_config(path) + parsed.settings
