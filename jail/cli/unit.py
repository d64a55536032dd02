"""`pyjail unit`: the systemd unit that runs a compiled jail, made from what its plan says."""

from __future__ import annotations

import os
import pwd
import re
import sys

from jail.cli.parse import Parsed
from jail.directives import Cgroup, Grace, Ids, ListenFds, Notify
from jail.errors import SpecError
from jail.plan import Plan
from jail.settings import UsageError
from jail.tojail import choice

GRACE_MS = 5000  # docs/plan.md
MARGIN_SECONDS = 5  # beyond the jail's own grace, so that it ends its payload by itself
# Ends by HUP, INT, PIPE and TERM: successes for systemd, where it sees them by itself.
CLEAN = "129 130 141 143"
# What takes from the supervisor what it does not need. Settings that change /proc, the cgroups or what may be
# mounted would take what jails are made of.
HARDENING = ("NoNewPrivileges=yes", "LockPersonality=yes", "RestrictRealtime=yes",
             "SystemCallArchitectures=native")
# What a jailer of root's needs outside of the namespaces that it makes.
CAPABILITIES = ("CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETPCAP "
                "CAP_SETUID CAP_SYS_ADMIN CAP_SYS_RESOURCE")
NOT_A_JAIL = "not a compiled jail; `pyjail compile -o FILE` makes one"


class Compiled:
    """A compiled jail as it lies there. Raises UsageError."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        try:
            with open(path, "rb") as file:
                text = file.read()
                found = os.fstat(file.fileno())
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from None
        interpreter = re.match(rb"#!(/\S+) run\n", text)
        if interpreter is None:
            raise UsageError(f"{path}: {NOT_A_JAIL}")
        try:
            self.plan = Plan.from_bytes(text)
        except SpecError as error:
            raise UsageError(f"{path}: {error}; {NOT_A_JAIL}") from None
        if not found.st_mode & 0o111:
            raise UsageError(f"{path}: not executable: chmod +x it")
        if not os.access(interpreter[1], os.X_OK):
            where = os.fsdecode(interpreter[1])
            raise UsageError(f"{path}: its jailer {where} is not there: compile it again")
        self.owner = found.st_uid
        stem = os.path.basename(self.path).removesuffix(".jail")
        self.name = re.sub(r"[^A-Za-z0-9:_.-]", "_", stem)

    def says(self, kind: type) -> bool:
        """Whether the plan has a line of this kind."""
        return bool(self.plan.of(kind))


def unit(parsed: Parsed) -> int:
    """Print the unit that is asked for; the exit status."""
    if len(parsed.words) != 1:
        raise UsageError("usage: pyjail unit [options] FILE")
    jail = Compiled(parsed.words[0])
    address = parsed.last("socket")
    accept = parsed.last("accept") is not None
    if accept and jail.says(ListenFds):
        raise UsageError("--accept: the jail is compiled with --listen-fds: "
                         "it takes the listening socket itself")
    lines = socket(jail, address.text, accept) if address else service(jail, parsed, accept)
    sys.stdout.write("\n".join((*lines, "")))
    return 0


def service(jail: Compiled, parsed: Parsed, accept: bool) -> list[str]:
    """The .service."""
    notify = jail.says(Notify)
    kind = chosen(parsed, "type") or ("notify" if notify else "exec")
    if kind == "notify" and not notify:
        raise UsageError("--type notify: nobody would tell systemd that it is ready; "
                         "compile the jail with --notify")
    if accept and kind == "oneshot":
        raise UsageError("--type oneshot: with --accept a service runs as long as its connection")
    restart = chosen(parsed, "restart") or ("no" if accept or kind == "oneshot" else "on-failure")
    if restart != "no" and accept:
        raise UsageError("--restart: with --accept the connection ends with the program, "
                         "and there is nothing to start it again for")
    if restart == "always" and kind == "oneshot":
        raise UsageError("--restart always: systemd does not allow it with --type oneshot")
    at = "@" if accept else ""
    lines = [f"# {jail.name}{at}.service, made by pyjail unit from a compiled jail",
             "[Unit]", f"Description={jail.name}, in a jail"]
    if jail.says(ListenFds):
        lines += [f"Requires={jail.name}.socket", f"After={jail.name}.socket"]
    if accept:
        lines += ["CollectMode=inactive-or-failed"]
    lines += ["", "[Service]", f"Type={kind}", f"ExecStart={quoted(jail.path)}", *identity(jail, parsed)]
    lines += (["StandardInput=socket", "StandardOutput=socket", "StandardError=journal"] if accept
              else ["StandardInput=null"])
    lines += [f"Restart={restart}", f"SuccessExitStatus={CLEAN}", *ending(jail.plan)]
    if jail.says(Cgroup):
        lines += ["# The jail's own cgroup, which holds its limits, lies in the unit's.", "Delegate=yes"]
    lines += HARDENING
    if not parsed.last("session"):  # whose service manager may not change it
        lines.append(f"CapabilityBoundingSet={'' if by_user(jail) else CAPABILITIES}")
    if not accept and not jail.says(ListenFds):
        target = "default" if parsed.last("session") else "multi-user"
        lines += ["", "[Install]", f"WantedBy={target}.target"]
    return lines


def ending(plan: Plan) -> list[str]:
    """The supervisor alone gets the stop signal; it passes it on, and sees to all others."""
    grace = plan.of(Grace)
    seconds = -(-(grace[0].milliseconds if grace else GRACE_MS) // 1000)
    return ["KillMode=mixed", f"TimeoutStopSec={seconds + MARGIN_SECONDS}"]


def identity(jail: Compiled, parsed: Parsed) -> list[str]:
    """Who starts it: root, or the user that it was compiled by."""
    setting, session = parsed.last("user"), parsed.last("session")
    if not by_user(jail):
        if setting or session:
            option = "--user" if setting else "--session"
            raise UsageError(f"{option}: the jail was compiled by root, for root: "
                             "compile it as the user who is to start it")
        return []
    if session:
        if setting:
            raise UsageError("--user and --session exclude each other: a session's units run as its user")
        return []
    if setting:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?", setting.text):
            raise UsageError(f"--user: {setting.text!r} is no user's name")
        return [f"User={setting.text}"]
    if jail.owner == 0:
        raise UsageError(f"{jail.path} was compiled by an ordinary user, and belongs to root: "
                         "name the user with --user NAME, or compile it as root")
    try:
        return [f"User={pwd.getpwuid(jail.owner).pw_name}"]
    except KeyError:
        return [f"User={jail.owner}"]


def by_user(jail: Compiled) -> bool:
    """Whether it was compiled by an ordinary user, for that user."""
    return jail.plan.of(Ids)[0].pool is None


def socket(jail: Compiled, address: str, accept: bool) -> list[str]:
    """The .socket."""
    if not accept and not jail.says(ListenFds):
        raise UsageError("--socket: the jail does not take a listening socket; compile it with --listen-fds, "
                         "or add --accept for a run for each connection, which is its stdin and stdout")
    if not address or not address.isprintable() or address != address.strip():
        raise UsageError(f"--socket: {address!r} is no address; write a port, HOST:PORT, "
                         "/the/path of a socket, or @a-name")
    lines = [f"# {jail.name}.socket, made by pyjail unit.", "[Unit]",
             f"Description=the socket of {jail.name}, in a jail", "", "[Socket]",
             f"ListenStream={address.replace('%', '%%')}"]
    if accept:
        lines.append("Accept=yes")
    return [*lines, "", "[Install]", "WantedBy=sockets.target"]


def chosen(parsed: Parsed, name: str) -> str | None:
    """The option's word, which must be one of its choices."""
    setting = parsed.last(name)
    return choice(setting) if setting else None


def quoted(path: str) -> str:
    """A path as ExecStart= reads it: quotes for white space, and nothing of it is a specifier or variable."""
    if any(ord(character) < 32 or character == "\x7f" for character in path):
        raise UsageError(f"{path!r}: a unit cannot name a file with control characters; rename it")
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if re.search(r"[\s'\"\\;]", path) else text
