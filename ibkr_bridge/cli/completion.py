"""`bridge.py completion`: a script with which a shell completes commands, options and choices.

It is made from the parsers of the commands, so it cannot promise an option that does not exist.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ibkr_bridge.cli import COMMANDS, EXIT_OK, HELP
from ibkr_bridge.cli.command_parser import new_parser, parser_of
from ibkr_bridge.program_name import INSTALLED_NAME, SOURCE_NAME

EXAMPLES = {
    "completion bash": "print the script; the installer has put it in place for bash",
    "completion zsh": "for ~/.zshrc",
    "completion fish": "for ~/.config/fish/completions/ibkr-bridge.fish",
}
BASH = """\
# Completion of {names} for bash. Made by: completion bash
_ibkr_bridge() {{
    local words="" current="${{COMP_WORDS[COMP_CWORD]}}"
    if [ "$COMP_CWORD" = 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _ibkr_bridge {names}
"""
ZSH = """\
# Completion of {names} for zsh, by the script for bash. Made by: completion zsh
autoload -U +X bashcompinit && bashcompinit
"""


@dataclass(frozen=True)
class Completion:
    """What may follow a command, or a verb of it."""

    options: Mapping[str, str]
    """Options, with their help."""
    choices: tuple[str, ...] = ()
    verbs: Mapping[str, Completion] | None = None

    @property
    def words(self) -> str:
        """All of it, on one line."""
        return " ".join([*self.choices, *(self.verbs or {}), *self.options])


def run(argv: Sequence[str]) -> int:
    """Print the script for a shell."""
    print(SHELLS[build_parser().parse_args(argv).shell](completions()), end="")
    return EXIT_OK


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("completion", "Print a script with which a shell completes these commands.", EXAMPLES)
    parser.add_argument("shell", choices=list(SHELLS), help="bash, zsh or fish")
    return parser


def completions() -> dict[str, Completion]:
    """What may follow each command."""
    return {command: completion_of(parser_of(command)) for command in COMMANDS}


def completion_of(parser: argparse.ArgumentParser) -> Completion:
    """What may follow the words of a parser."""
    options: dict[str, str] = {}
    choices: list[str] = []
    verbs: dict[str, Completion] = {}
    for action in parser._actions:  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):
            verbs = {name: completion_of(each) for name, each in action.choices.items()}
        elif action.option_strings:
            options[action.option_strings[-1]] = action.help or ""
        elif action.choices:
            choices += map(str, action.choices)
    return Completion(options, tuple(choices), verbs or None)


def bash_script(table: Mapping[str, Completion]) -> str:
    """The script for bash."""
    cases = "\n".join(line for command, each in table.items() for line in _bash_case(command, each))
    help_case = f'        {HELP}) words="{" ".join(table)}" ;;'
    commands = " ".join([*table, HELP, "--help", "--version"])
    return BASH.format(names=f"{INSTALLED_NAME} {SOURCE_NAME}", commands=commands, cases=f"{cases}\n{help_case}")


def _bash_case(command: str, completion: Completion) -> Iterator[str]:
    if completion.verbs is None:
        yield f'        {command}) words="{completion.words}" ;;'
        return
    yield f"        {command})"
    yield '            case "$COMP_CWORD ${COMP_WORDS[2]}" in'
    yield f'            2\\ *) words="{completion.words}" ;;'
    yield from (f'            *\\ {verb}) words="{each.words}" ;;' for verb, each in completion.verbs.items())
    yield "            esac ;;"


def zsh_script(table: Mapping[str, Completion]) -> str:
    """The script for zsh, which understands that of bash."""
    return ZSH.format(names=f"{INSTALLED_NAME} {SOURCE_NAME}") + bash_script(table)


def fish_script(table: Mapping[str, Completion]) -> str:
    """The script for fish."""
    lines = [f"# Completion of {INSTALLED_NAME} for fish. Made by: completion fish"]
    for command, each in table.items():
        begin = f"complete -c {INSTALLED_NAME} -n"
        lines.append(f"{begin} __fish_use_subcommand -f -a {command} -d {_quote(COMMANDS[command])}")
        condition = f"'__fish_seen_subcommand_from {command}'"
        lines.extend(f"{begin} {condition} -a {word}" for word in (*each.choices, *(each.verbs or {})))
        lines.extend(_fish_option(begin, condition, option, text) for option, text in each.options.items())
        for verb, inner in (each.verbs or {}).items():
            condition = f"'__fish_seen_subcommand_from {command}; and __fish_seen_subcommand_from {verb}'"
            lines.extend(_fish_option(begin, condition, option, text) for option, text in inner.options.items())
    return "\n".join(lines) + "\n"


def _fish_option(begin: str, condition: str, option: str, text: str) -> str:
    kind = "-l" if option.startswith("--") else "-s"
    return f"{begin} {condition} {kind} {option.lstrip('-')} -d {_quote(text)}"


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: dict[str, Callable[[Mapping[str, Completion]], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}
