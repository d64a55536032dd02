"""Completion scripts for bash, zsh and fish, made from the table of options."""

from __future__ import annotations

from jail.cli.options import COMMANDS, FAMILIES, Command
from jail.settings import FILE, FLAG, FOLDER, PAIR, Option, UsageError

WORDS = {"cache": ("clear", "path"), "completion": ("bash", "zsh", "fish"),
         "help": tuple(dict.fromkeys(name.split(" ")[0] for name in COMMANDS))}
TOP = [command for command in COMMANDS.values() if " " not in command.name]


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


def words(command: Command) -> tuple[str, ...]:
    """The fixed words that can follow the command's options."""
    if "NAME" in command.words.split(" ")[0]:
        return ("$(pyjail ps --names)",)
    if "PROFILE" in command.words:
        import seccomp
        return tuple(seccomp.profiles())
    return WORDS.get(command.name, ())


def takes_files(command: Command) -> bool:
    """Whether files complete the command's words."""
    return "FILE" in command.words and not command.runs


def second_words(family: str) -> tuple[str, ...]:
    """The second words of the family's commands."""
    return tuple(name.split(" ")[1] for name in COMMANDS if name.startswith(family + " "))


def takes_path(option: Option) -> bool:
    """Whether files and folders complete the option's value."""
    return option.kind in (FILE, FOLDER, PAIR) or option.name == "seccomp"


def bash() -> str:
    """For bash: one function that walks the words as our parser does."""
    lists = "\n".join(
        f"        '{command.name}') options='{' '.join('--' + option.name for option in command.options)}'"
        f" words='{' '.join(words(command))}' files={'1' if takes_files(command) else ''}"
        f" runs={'1' if command.runs else ''} ;;" for command in COMMANDS.values())
    families = "\n".join(
        f"        {family}) second='{' '.join(second_words(family))}' ;;" for family in FAMILIES)
    options = {option.name: option for command in COMMANDS.values() for option in command.options}.values()
    cases = []
    for option in options:
        if option.kind != FLAG:
            reply = f"$(compgen -W '{' '.join(values(option))}' -- \"$current\")" if values(option) else ""
            files = f"; {BASH_FILES}" if takes_path(option) else ""
            cases.append(f"        --{option.name}) COMPREPLY=({reply}){files}; return ;;")
    valued = "|".join(f"--{option.name}" for option in options if option.kind != FLAG)
    firsts = " ".join((*(command.name for command in TOP), *FAMILIES))
    return BASH.format(commands=firsts, families=families, lists=lists, cases="\n".join(cases), valued=valued,
                       files=BASH_FILES)


BASH_FILES = 'compopt -o filenames; COMPREPLY+=($(compgen -f -- "$current"))'
BASH = """\
# bash completion for pyjail; made by `pyjail completion bash`
_pyjail() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local name=${{COMP_WORDS[1]}} second options words files runs index=2
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '{commands} --help --version' -- "$current"))
        return
    fi
    case $name in
{families}
    esac
    if [[ $second ]]; then
        if ((COMP_CWORD == 2)); then
            COMPREPLY=($(compgen -W "$second --help" -- "$current"))
            return
        fi
        name+=" ${{COMP_WORDS[2]}}"
        index=3
    fi
    case $name in
{lists}
        *) return ;;
    esac
    for ((; index < COMP_CWORD; index++)); do
        case ${{COMP_WORDS[index]}} in
            {valued}|-o) ((index++)) ;;
            --) break ;;
            -*) ;;
            *) [[ $runs ]] && break ;;
        esac
    done
    if ((index < COMP_CWORD)); then
        [[ $runs ]] && compopt -o default
        return
    fi
    if ((index > COMP_CWORD)); then
        case $previous in
{cases}
        esac
    fi
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$current"))
        return
    fi
    [[ $words ]] && COMPREPLY=($(compgen -W "$words" -- "$current"))
    if [[ $files ]]; then {files}; fi
    [[ $runs ]] && COMPREPLY=($(compgen -c -- "$current"))
}}
complete -F _pyjail pyjail
"""


def zsh() -> str:
    """For zsh: _arguments specifications."""
    cases = []
    for command in COMMANDS.values():
        specs = [zsh_spec(option) for option in command.options]
        if command.runs:
            specs += ["'(-)1:command: _command_names -e'", "'*::arguments: _normal'"]
        elif takes_files(command):
            specs.append(f"'*:policy:{{ compadd -- {' '.join(words(command))}; _files }}'")
        elif words(command):
            specs.append(f"'1:word:({' '.join(words(command))})'")
        arguments = " \\\n        ".join(["_arguments -S", *specs])
        cases.append(f"    '{command.name}')\n      {arguments}\n      ;;")
    abouts = {**{command.name: command.about for command in TOP}, **FAMILIES}
    commands = "\n".join("      " + zsh_quoted(f"{name}:{about}") for name, about in abouts.items())
    families = "\n".join(f"    {family}) second=({' '.join(second_words(family))}) ;;" for family in FAMILIES)
    return ZSH.format(commands=commands, families=families, cases="\n".join(cases))


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
  local -a second
  shift words
  (( CURRENT-- ))
  case $name in
{families}
  esac
  if (( $#second )); then
    if (( CURRENT == 2 )); then
      compadd -- $second
      return
    fi
    name="$name ${{words[2]}}"
    shift words
    (( CURRENT-- ))
  fi
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
    for name, about in {**{command.name: command.about for command in TOP}, **FAMILIES}.items():
        lines.append(f"complete -c pyjail -n __fish_use_subcommand -a {name} -d {fish_quoted(about)}")
    for family in FAMILIES:
        seconds = " ".join(second_words(family))
        condition = f"'{fish_seen(family)}; and not __fish_seen_subcommand_from {seconds}'"
        lines.append(f"complete -c pyjail -n {condition} -f -a '{seconds}'")
    for command in COMMANDS.values():
        seen = f"-n '{fish_seen(command.name)}'"
        start = f"complete -c pyjail {seen} -l "
        lines += [f"{start}{option.name}{fish_value(option)} -d {fish_quoted(option.about)}"
                  for option in command.options]
        if words(command):
            files = "-F" if takes_files(command) else "-f"
            lines.append(f"complete -c pyjail {seen} {files} -a '{' '.join(words(command))}'")
        elif command.runs:
            lines.append(f"complete -c pyjail {seen} -a '(__fish_complete_subcommand)'")
    return "\n".join(lines) + "\n"


def fish_seen(name: str) -> str:
    """The condition that the line so far is of this command, or family."""
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split(" "))
    clash = [family for family in FAMILIES if name in second_words(family)]
    return seen + "".join(f"; and not __fish_seen_subcommand_from {family}" for family in clash)


def fish_value(option: Option) -> str:
    """How fish completes an option's value."""
    if option.kind == FLAG:
        return ""
    fixed = f" -a '{' '.join(values(option))}'" if values(option) else ""
    return (" -r -F" if takes_path(option) else " -x") + fixed


def fish_quoted(text: str) -> str:
    """A word in single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
