"""What the commands on policies say: tables, explanations and verdicts, as text and as data."""

from __future__ import annotations

import difflib
import errno
import os
import textwrap
from typing import TYPE_CHECKING, Any

from jail.settings import UsageError
from seccomp import Policy, PolicyError, Rule, _calls, profiles
from seccomp.describe import describe_steps
from seccomp.explanation import looked_at
from seccomp.grouping import groups, home
from seccomp.selectors import meanings
from seccomp.writer import rule_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seccomp import Difference, Explanation
    from seccomp.policy import When

WIDTH = 80
HEADS = {
    "allow": "Allowed",
    "log": "Allowed, and noted in the kernel's log",
    "kill": "Refused: the process is killed",
    "kill-thread": "Refused: the thread is killed",
    "trap": "Refused: the thread gets SIGSYS",
    "ENOSYS": "Refused with ENOSYS, as on a kernel that does not have them",
}
MEANINGS = {
    "allow": "it is carried out, as far as the kernel itself permits",
    "log": "it is carried out, and noted in the kernel's log",
    "kill": "the process is killed (SIGSYS)",
    "kill-thread": "the thread is killed (SIGSYS)",
    "trap": "the thread gets the signal SIGSYS",
    "ENOSYS": "it fails with ENOSYS, as on a kernel that does not have it",
}
STARTING = ("execve", "read", "exit", "exit_group")


def call_name(number: int, machine: str | None) -> str:
    """The name of a call number."""
    where = _calls.machine_of(machine)
    name = _calls.name(number, where)
    if name is None:
        raise UsageError(f"{where} has no system call {number} that is known here")
    return name


def table_text(name: str, policy: Policy, machine: str | None) -> str:
    """The effective table, for people."""
    where = _calls.machine_of(machine)
    lines = [f"{name}: {policy.description}" if policy.description else name]
    lines += [f"  from            {policy.source}"] if policy.source else []
    lines += [
        f"  for             {where}: a program of {len(policy.compile(where)) // 8} instructions",
        f"  calls not here  {policy.default}",
        f"  other ABIs      {policy.foreign}",
    ]
    sections: dict[str, list[tuple[Rule, list[str]]]] = {}
    for rule, calls in rules_of(policy, where):
        steps, last = rule.cases(policy.default)
        head = "Hangs on the arguments" if steps else HEADS.get(last, f"Refused with {last}")
        sections.setdefault(head, []).append((rule, calls))
    for head, rules in sections.items():
        count = sum(len(calls) for _, calls in rules)
        lines += ["", f"{head}: {count} call{'' if count == 1 else 's'}"]
        for rule, calls in rules:
            lines += rule_text(rule, calls, policy.default)
    return "\n".join(lines) + "\n"


def rules_of(policy: Policy, machine: str) -> list[tuple[Rule, list[str]]]:
    """Each rule with those of its calls that the machine has."""
    found: dict[int, tuple[Rule, list[str]]] = {}
    for number, rule in sorted(policy.table(machine).items()):
        name = _calls.name(number, machine) or str(number)
        found.setdefault(id(rule), (rule, []))[1].append(name)
    order = {id(rule): index for index, rule in enumerate(policy.rules)}
    return [(rule, sorted(calls)) for _, (rule, calls) in sorted(found.items(), key=lambda e: order[e[0]])]


def rule_text(rule: Rule, calls: list[str], default: str) -> list[str]:
    """One rule: its reason, its calls, and what it asks."""
    if rule.reason or len(calls) == 1:
        blocks = {rule.reason: calls}
    else:
        blocks = {}
        for call in calls:
            about = groups().get(home(call), "")
            blocks.setdefault(f"{home(call)}: {about}" if about else "in no group", []).append(call)
    lines = []
    for about, members in blocks.items():
        lines += wrapped(about, 2) if about else []
        lines += wrapped(" ".join(members), 6)
    if rule.when:
        for line in describe_steps(rule, default, calls[0]):
            lines += wrapped(line, 8, 6)
    return lines


def wrapped(text: str, indent: int, more: int = 0) -> list[str]:
    """The text in lines that fit, those after the first `more` to the right."""
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + more),
                         break_on_hyphens=False, break_long_words=False)


def table_data(name: str, policy: Policy, machine: str | None) -> dict[str, Any]:
    """The effective table, for programs."""
    where = _calls.machine_of(machine)
    calls = []
    for number, rule in sorted(policy.table(where).items()):
        call = _calls.name(number, where)
        calls.append({"name": call, "number": number, "group": home(call) if call else "",
                      **rule_data(rule, policy.default)})
    return {"policy": name, "description": policy.description, "file": policy.source, "machine": where,
            "default": policy.default, "foreign": policy.foreign,
            "instructions": len(policy.compile(where)) // 8, "calls": calls}


def rule_data(rule: Rule, default: str) -> dict[str, Any]:
    """What a rule decides: the first of the cases that holds, else `action`."""
    steps, last = rule.cases(default)
    return {"action": last, "cases": [{"action": action, "when": when_data(when)} for when, action in steps],
            "reason": rule.reason, "probed": rule.probed}


def when_data(when: When) -> list[list[dict[str, Any]]]:
    """The alternatives, of each the conditions that must all hold."""
    return [[{"arg": c.arg, "mask": c.mask, "op": c.op, "value": c.value} for c in each] for each in when]


def differences_text(found: Sequence[Difference], before: Policy, after: Policy) -> str:
    """What differs: `ptrace: EPERM → allow`, or, where arguments count, what goes and what comes."""
    lines: list[str] = []
    for each in found:
        rules = [(policy.rule_of(each.call), policy.default) for policy in (before, after)]
        if not any(rule is not None and rule.when for rule, _ in rules):
            lines.append(str(each))
            continue
        old, new = ([default] if rule is None else describe_steps(rule, default, each.call)
                    for rule, default in rules)
        lines.append(f"{each.call}:")
        lines += [f"  {line}" for line in difflib.ndiff(old, new) if not line.startswith("?")]
    return "".join(f"{line}\n" for line in lines)


def explanation_text(name: str, policy: Policy, found: Explanation, args: Sequence[int | None],
                     strict: bool) -> str:
    """What happens to a call, why, and what to add to allow it."""
    rule = found.rule
    number = "not on this machine" if found.number is None else str(found.number)
    lines = [f"{shown(found.call, args)} [{number}] under {name}: {' or '.join(found.actions)}"]
    for action in found.actions:
        prefix = f"{action}: " if len(found.actions) > 1 else ""
        lines += wrapped(prefix + meaning(action), 2)
    if rule is None:
        lines += wrapped("no rule names it, so it gets what the policy has for all such calls", 2)
    else:
        lines += wrapped(f"why: {rule.reason}", 2) if rule.reason else []
        if rule.when:
            lines.append("  the rule:")
            for line in describe_steps(rule, policy.default, found.call):
                lines += wrapped(line, 4, 6)
        if rule.probed:
            lines += wrapped("programs try this call and do without it: it need not be allowed", 2)
    if len(found.actions) > 1 and rule is not None:
        asked = ", ".join(map(str, looked_at(rule)))
        lines += wrapped(f"which of them hangs on its arguments {asked}, counted from 0", 2)
    if found.remedy is not None:
        lines += ["", *remedy_text(name, found.remedy, strict)]
    return "\n".join(lines) + "\n"


def meaning(action: str) -> str:
    """What an action does to a call, in words."""
    return MEANINGS.get(action) or f"it fails with {action} ({os.strerror(getattr(errno, action))})"


def shown(call: str, args: Sequence[int | None]) -> str:
    """The call as it was asked about, numbers with their names."""
    if not args:
        return call
    words = ["_" if value is None else meanings(call, i, (value,)) if call != "clone" else "" for i, value in
             enumerate(args)]
    pairs = zip(words, args, strict=True)
    return f"{call}({', '.join(word or (str(v) if (v or 0) < 10 else f'{v:#x}') for word, v in pairs)})"


def remedy_text(name: str, remedy: Rule, strict: bool) -> list[str]:
    """A policy file, or what to change in one, and how to run under it."""
    call = remedy.calls[0]
    what = "it" if remedy.when else f"every {call}"
    rule = [f"  {line}" for line in rule_lines(remedy)]
    option = "--strict " if strict else ""
    if name in profiles():
        path = f"./{name}-{call}.toml"
        lines = [f"To allow {what}, write {path}:", "", f'  description = "{name}, and {call}"',
                 f'  base = "{name}"', "", *rule]
    elif name.endswith(".json"):
        path = name.removesuffix(".json") + ".toml"
        lines = [f"To allow {what}, make a policy file of {name}:",
                 f"  pyjail seccomp compile --format toml {name} -o {path}",
                 f"and put this there, in place of what it says of {call}:", "", *rule]
    else:
        path = name if "/" in name else f"./{name}"
        lines = [f"To allow {what}, put this in {name}, in place of what it says of {call}:", "", *rule]
    return [*lines, "", f"and start with: pyjail run {option}--seccomp {path} -- COMMAND"]


def explanation_data(name: str, policy: Policy, found: Explanation,
                     args: Sequence[int | None]) -> dict[str, Any]:
    """The explanation for programs."""
    rule = rule_data(found.rule, policy.default) if found.rule is not None else None
    remedy = "\n".join(rule_lines(found.remedy)) + "\n" if found.remedy is not None else None
    return {"policy": name, "call": found.call, "number": found.number, "args": list(args),
            "actions": list(found.actions), "rule": rule, "default": policy.default,
            "remedy": remedy}


def checked(path: str) -> dict[str, Any]:
    """The verdict on a policy file: `state` is ok, wrong or unreadable."""
    result: dict[str, Any] = {"file": path, "state": "ok", "summary": None, "error": None, "notes": []}
    try:
        policy = Policy.from_file(path)
        size = len(policy.compile()) // 8
    except OSError as error:
        text = f"cannot read {path}: {error.strerror}"
        return {**result, "state": "unreadable", "error": {"line": 0, "key": "", "text": text}}
    except PolicyError as error:
        place = {"line": error.line, "key": error.key, "message": error.message}
        return {**result, "state": "wrong", "error": {**place, "text": str(error)}}
    fates = [rule.cases(policy.default) for rule in policy.table().values()]
    free = sum(not steps and last in ("allow", "log") for steps, last in fates)
    some = sum(bool(steps) for steps, _ in fates)
    result["summary"] = (f"{free} calls allowed, {some} for some arguments, others get {policy.default}; "
                         f"{size} instructions")
    stuck = [call for call in STARTING if policy.decide(call) not in ("allow", "log")]
    if stuck:
        result["notes"].append(f"nothing can be started under it, since that takes {', '.join(stuck)}")
    return result
