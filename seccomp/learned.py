"""The file of a learned policy: a policy file whose comments tell what it was learned from, and how often
each call was made.  The rules count; the comments are read back only to go on counting.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from seccomp.grouping import groups, home
from seccomp.learn import ALWAYS, WITH_CHILDREN, Learned
from seccomp.policy import Policy, Rule
from seccomp.writer import rule_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = "# Learned by `pyjail learn`."
_WIDTH = 110
_ABOUT = (
    "What the command did not do while it was watched is refused: let it do all that it will have to do, "
    "with other input, errors and a terminal, and learn again into this file, which adds what is new. Rules "
    "may be changed by hand; what they allow stays when more is learned."
)
_ALWAYS = "starting a program, or left to kernel and C library, which call it or not from run to run"
_OTHERS = "others, which are in no group or in @system-service only"
_COUNT = re.compile(r'^ +"(\w+)", +# (\d+)$', re.MULTILINE)
_REFUSED = re.compile(r"^#   (\w+) +(\S+) (\d+)$", re.MULTILINE)
_RUN = re.compile(r"^#   \$ (.*)$", re.MULTILINE)


def is_learned(text: str) -> bool:
    """Whether the text is of a file that was learned."""
    return text.startswith(HEAD)


def read(text: str, source: str | None = None) -> Learned:
    """What a policy file tells; for one that was not learned, only the policy.  PolicyError."""
    policy = Policy.from_toml(text, source=source)
    if not is_learned(text):
        return Learned(policy, {}, {})
    refused: dict[str, dict[str, int]] = {}
    for call, action, count in _REFUSED.findall(text):
        refused.setdefault(call, {})[action] = int(count)
    counts = {call: int(count) for call, count in _COUNT.findall(text)}
    return Learned(policy, counts, refused, tuple(_RUN.findall(text)))


def write(learned: Learned, base: str) -> str:
    """The file's text; `base`: the name of the policy that it was learned within."""
    policy = learned.policy
    lines = [HEAD, *_comment(_ABOUT), "#", f"# Learned within the policy {base}, from:"]
    lines += [f"#   $ {run}" for run in learned.runs]
    lines += ["", f'default = "{policy.default}"', f'foreign = "{policy.foreign}"']
    free = [rule for rule in policy.rules if not rule.when and rule.action in ("allow", "log")]
    for action in ("allow", "log"):
        calls = [call for rule in free if rule.action == action for call in rule.calls]
        lines += _groups(learned, calls, action)
    for rule in policy.rules:
        if rule not in free:
            lines += ["", *rule_lines(rule, _counted(learned, rule.calls))]
    if learned.refused:
        lines += ["", "# The command also tried, and the base policy refused (how, and how often):"]
        width = max(map(len, learned.refused))
        lines += [f"#   {call:{width}}  {action} {count}" for call, kinds in sorted(learned.refused.items())
                  for action, count in sorted(kinds.items())]  # fmt: skip
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _groups(learned: Learned, calls: Sequence[str], action: str) -> list[str]:
    """A rule for each group of calls that were made, and one for those that are there in any case."""
    parts: dict[str, list[str]] = {}
    for call in sorted(calls):
        seen = call in learned.counts or call not in (*ALWAYS, *WITH_CHILDREN)
        parts.setdefault(home(call) or "others" if seen else "", []).append(call)
    lines = []
    order = sorted(parts.items(), key=lambda part: (part[0] == "", part[0] == "others", part[0]))
    for group, members in order:
        reason = _ALWAYS if group == "" else f"{group}: {groups()[group]}" if group in groups() else _OTHERS
        rule = Rule(tuple(members), action, reason=reason)
        lines += ["", *rule_lines(rule, _counted(learned, members))]
    return lines


def _counted(learned: Learned, calls: Sequence[str]) -> list[str] | None:
    """The calls, one a line, with how often each was made; None where nothing is known of that."""
    if not any(call in learned.counts for call in calls):
        return None
    width = max(map(len, calls)) + 3
    words = [(f'"{call}",', learned.counts.get(call)) for call in calls]
    return [f"  {word:{width}}  # {count}" if count else f"  {word}" for word, count in words]
