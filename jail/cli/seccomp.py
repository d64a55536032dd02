"""`pyjail seccomp …`: policies shown, explained, compared, compiled and checked."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

from jail.cli import policytext
from jail.cli.parse import Parsed
from jail.cli.writing import note, write_whole
from jail.errors import UnsupportedError
from jail.settings import UsageError, closest
from jail.sources import is_policy_file
from jail.tojail import choice
from seccomp import LibraryMissingError, Policy, PolicyError, diff, disassemble, explain, profiles
from seccomp.selectors import number

if TYPE_CHECKING:
    from jail.cli.options import Command

SAME, DIFFERENT, TROUBLE = 0, 1, 2


def perform(command: Command, parsed: Parsed) -> int:
    """Do what the command does; the exit status."""
    try:
        if command.name == "seccomp show":
            return show(parsed)
        if command.name == "seccomp explain":
            return explain_call(parsed)
        if command.name == "seccomp diff":
            return compare(parsed)
        if command.name == "seccomp compile":
            return compile_policy(parsed)
        return check(parsed)
    except PolicyError as error:
        raise UsageError(str(error)) from None
    except LibraryMissingError as error:
        raise UnsupportedError("seccomp", str(error), "install it") from error


def policy_of(word: str, parsed: Parsed | None = None) -> Policy:
    """The policy that a word names as --seccomp does; strict, if that is asked for."""
    if is_policy_file(word):
        policy = from_file(word)
    elif word not in profiles():
        likely = closest(word, profiles())
        hint = f"did you mean {likely}?" if likely else f"there are {', '.join(profiles())}"
        raise UsageError(f"no profile {word!r}; {hint} "
                         "(a policy file's name has a / or ends in .toml or .json)")
    else:
        policy = Policy.named(word)
    return policy.strict() if parsed is not None and parsed.last("strict") else policy


def from_file(path: str) -> Policy:
    """The policy in a file."""
    try:
        return Policy.from_file(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def machine_of(parsed: Parsed) -> str | None:
    """The machine that --arch names, None for this one."""
    setting = parsed.last("arch")
    return choice(setting) if setting else None


def expect(parsed: Parsed, least: int, most: int, usage: str) -> list[str]:
    """The words, of which there must be so many."""
    if not least <= len(parsed.words) <= most:
        raise UsageError(f"usage: pyjail seccomp {usage}")
    return parsed.words


def show(parsed: Parsed) -> int:
    """Print what the policy does with every call."""
    words = expect(parsed, 0, 1, "show [options] [PROFILE|FILE]")
    name = words[0] if words else "default"
    policy = policy_of(name, parsed)
    if parsed.last("json"):
        print(json.dumps(policytext.table_data(name, policy, machine_of(parsed)), indent=2))
    else:
        print(policytext.table_text(name, policy, machine_of(parsed)), end="")
    return 0


def explain_call(parsed: Parsed) -> int:
    """Print what happens to one call, why, and what would allow it."""
    name, text = expect(parsed, 2, 2, "explain [options] PROFILE|FILE CALL[(ARG,...)]")
    policy, machine = policy_of(name, parsed), machine_of(parsed)
    call, args = parse_call(text, machine)
    found = explain(policy, call, args, machine)
    strict = parsed.last("strict") is not None
    if parsed.last("json"):
        print(json.dumps(policytext.explanation_data(name, policy, found, args), indent=2))
    else:
        print(policytext.explanation_text(name, policy, found, args, strict), end="")
    return 0


def parse_call(text: str, machine: str | None) -> tuple[str, list[int | None]]:
    """The call's name and arguments; those that are not known are None."""
    matched = re.fullmatch(r"\s*(@?[\w-]+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if not matched:
        raise UsageError(f"{text!r} is no call; write ptrace, or 'socket(AF_INET, SOCK_STREAM, _)'")
    call, inside = matched[1], (matched[2] or "").strip()
    words = [word.strip() for word in inside.split(",")] if inside else []
    if len(words) > 6:
        raise UsageError(f"{text!r} has {len(words)} arguments; a system call has at most 6")
    try:
        args = [None if word in ("_", "?", "...") else number(word) for word in words]
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}; write _ for an argument that may be anything") from None
    return (policytext.call_name(int(call), machine) if call.isdecimal() else call), args


def compare(parsed: Parsed) -> int:
    """Print where two policies differ; like diff(1), 1 if they do."""
    words = expect(parsed, 2, 2, "diff [options] PROFILE|FILE PROFILE|FILE")
    before, after = map(policy_of, words)
    found = diff(before, after, machine_of(parsed))
    if parsed.last("json"):
        entries = [{"call": each.call, "before": each.before, "after": each.after} for each in found]
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        print(policytext.differences_text(found, before, after), end="")
    return DIFFERENT if found else SAME


def compile_policy(parsed: Parsed) -> int:
    """Write the policy in the form that is asked for."""
    name = expect(parsed, 1, 1, "compile [options] PROFILE|FILE")[0]
    setting, output = parsed.last("format"), parsed.last("output")
    form = choice(setting) if setting else "bpf"
    if form == "bpf" and output is None and sys.stdout.isatty():
        raise UsageError("a program is binary and would spoil the terminal; "
                         "write it to a file with -o FILE, or see it with --format text")
    policy = policy_of(name, parsed)
    content = formed(name, policy, form, machine_of(parsed))
    if output is not None:
        write_whole(output.text, content)
    else:
        sys.stdout.buffer.write(content)
    return 0


def formed(name: str, policy: Policy, form: str, machine: str | None) -> bytes:
    """The policy's program as it is, disassembled or as a line of a plan; or the policy as TOML."""
    bpf = policy.compile(machine)
    if form == "bpf":
        return bpf
    if form == "text":
        return disassemble(bpf, machine).encode()
    if form == "plan":
        from jail.directives import Seccomp
        from jail.plan import Plan
        return Plan((Seccomp(os.path.basename(name), bpf),)).to_bytes().split(b"\n")[1] + b"\n"
    text = policy.to_toml()
    if diff(policy, Policy.from_toml(text), machine):
        raise PolicyError("cannot be written as TOML: it would be read as another policy", file=policy.source)
    return text.encode()


def check(parsed: Parsed) -> int:
    """Tell of every file whether it is a right policy: 1 if one is wrong, 2 if one cannot be read."""
    if not parsed.words:
        raise UsageError("usage: pyjail seccomp check [options] FILE...")
    results, status = [], 0
    for path in parsed.words:
        result = policytext.checked(path)
        results.append(result)
        status = max(status, TROUBLE if result["state"] == "unreadable" else int(result["state"] != "ok"))
    if parsed.last("json"):
        print(json.dumps(results, indent=2))
        return status
    for result in results:
        if result["state"] == "ok":
            print(f"{result['file']}: ok: {result['summary']}")
        else:
            note(result["error"]["text"])
        for text in result["notes"]:
            note(f"{result['file']}: note: {text}")
    return status
