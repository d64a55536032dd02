"""Completion scripts for bash, zsh and fish, made from the table of options."""

from __future__ import annotations

from jail.cli.options import COMMANDS, FILE, FLAG, FOLDER, PAIR, Option
from jail.cli.parse import UsageError

WORDS = {"cache": ("clear", "path"), "completion": ("bash", "zsh", "fish"), "help": tuple(COMMANDS)}
RUNNERS = ("run", "plan", "compile")  # what follows their options is a command and its own words


def completion(shell: str) -> str:
    """The script for a shell. Raises UsageError for one that we do not know."""
    makers = {"bash": bash, "zsh": zsh, "fish": fish}
    if shell not in makers:
        raise UsageError(f"no completion for {shell!r}; there is one for {', '.join(makers)}")
    return makers[shell]()


def values(option: Option) -> tuple[str, ...]:
    """The fixed words that an option's value can be."""
    if option.name == "seccomp":
        import seccomp
        return (*seccomp.profiles(), "off")
    return ("host",) if option.name == "root" else option.choices


def takes_path(option: Option) -> bool:
    """Whether files and folders complete the option's value."""
    return option.kind in (FILE, FOLDER, PAIR) or option.name == "seccomp"


def bash() -> str:
    """For bash: one function that walks the words as our parser does."""
    lists = "\n".join(
        f"        {command.name}) options='{' '.join('--' + option.name for option in command.options)}'"
        f" words='{' '.join(WORDS.get(command.name, ()))}' ;;" for command in COMMANDS.values())
    options = {option.name: option for command in COMMANDS.values() for option in command.options}.values()
    cases = []
    for option in options:
        if option.kind != FLAG:
            reply = f"$(compgen -W '{' '.join(values(option))}' -- \"$current\")" if values(option) else ""
            files = BASH_FILES if takes_path(option) else ""
            cases.append(f"        --{option.name}) COMPREPLY=({reply}){files}; return ;;")
    valued = "|".join(f"--{option.name}" for option in options if option.kind != FLAG)
    return BASH.format(commands=" ".join(COMMANDS), lists=lists, cases="\n".join(cases), valued=valued,
                       runners="|".join(RUNNERS))


BASH_FILES = '; compopt -o filenames; COMPREPLY+=($(compgen -f -- "$current"))'
BASH = """\
# bash completion for pyjail; made by `pyjail completion bash`
_pyjail() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} options words index
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '{commands} --help --version' -- "$current"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{lists}
        *) return ;;
    esac
    for ((index = 2; index < COMP_CWORD; index++)); do
        case ${{COMP_WORDS[index]}} in
            {valued}|-o) ((index++)) ;;
            --) break ;;
            -*) ;;
            *) break ;;
        esac
    done
    if ((index < COMP_CWORD)); then
        case ${{COMP_WORDS[1]}} in
            {runners}) compopt -o default ;;
        esac
        return
    fi
    if ((index > COMP_CWORD)); then
        case $previous in
{cases}
        esac
    fi
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$current"))
    elif [[ $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    else
        case ${{COMP_WORDS[1]}} in
            {runners}) COMPREPLY=($(compgen -c -- "$current")) ;;
        esac
    fi
}}
complete -F _pyjail pyjail
"""


def zsh() -> str:
    """For zsh: _arguments specifications."""
    cases = []
    for command in COMMANDS.values():
        specs = [zsh_spec(option) for option in command.options]
        if command.name in RUNNERS:
            specs += ["'(-)1:command: _command_names -e'", "'*::arguments: _normal'"]
        elif command.name in WORDS:
            specs.append(f"'1:word:({' '.join(WORDS[command.name])})'")
        arguments = " \\\n        ".join(["_arguments -S", *specs])
        cases.append(f"    {command.name})\n      {arguments}\n      ;;")
    commands = "\n".join("      " + zsh_quoted(f"{command.name}:{command.about}")
                         for command in COMMANDS.values())
    return ZSH.format(commands=commands, cases="\n".join(cases))


ZSH = """\
#compdef pyjail
# zsh completion for pyjail; made by `pyjail completion zsh`
_pyjail() {{
  if (( CURRENT == 2 )); then
    local -a commands=(
{commands}
    )
    _describe command commands
    return
  fi
  local name=${{words[2]}}
  shift words
  (( CURRENT-- ))
  case $name in
{cases}
  esac
}}
if [[ $funcstack[1] == _pyjail ]]; then  # loaded from a folder of $fpath, to complete at once
  _pyjail "$@"
else
  compdef _pyjail pyjail
fi
"""


def zsh_spec(option: Option) -> str:
    """One option as _arguments wants it."""
    help_text = option.about.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    spec = f"{'*' if option.repeat else ''}--{option.name}{'' if option.kind == FLAG else '='}[{help_text}]"
    if option.kind != FLAG:
        action = "_files" if takes_path(option) else f"({' '.join(values(option))})" if values(option) else ""
        metavar = option.metavar.replace(":", "\\:")
        spec += f":{metavar}:{action}"
    return zsh_quoted(spec)


def zsh_quoted(text: str) -> str:
    """A word in single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def fish() -> str:
    """For fish: one `complete` line an option and command."""
    lines = ["# fish completion for pyjail; made by `pyjail completion fish`",
             "complete -c pyjail -n __fish_use_subcommand -f",
             "complete -c pyjail -n __fish_use_subcommand -l version -d 'Print the version'"]
    for command in COMMANDS.values():
        about = fish_quoted(command.about)
        lines.append(f"complete -c pyjail -n __fish_use_subcommand -a {command.name} -d {about}")
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        start = f"complete -c pyjail {seen} -l "
        lines += [f"{start}{option.name}{fish_value(option)} -d {fish_quoted(option.about)}"
                  for option in command.options]
        if command.name in WORDS:
            lines.append(f"complete -c pyjail {seen} -f -a '{' '.join(WORDS[command.name])}'")
        elif command.name in RUNNERS:
            lines.append(f"complete -c pyjail {seen} -a '(__fish_complete_subcommand)'")
    return "\n".join(lines) + "\n"


def fish_value(option: Option) -> str:
    """How fish completes an option's value."""
    if option.kind == FLAG:
        return ""
    fixed = f" -a '{' '.join(values(option))}'" if values(option) else ""
    return (" -r -F" if takes_path(option) else " -x") + fixed


def fish_quoted(text: str) -> str:
    """A word in single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
