"""The help of every command: examples that can be typed as they stand."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from ibkr_bridge.cli import COMMANDS, main
from ibkr_bridge.cli.command_parser import module_of, new_parser, parser_of


def parsers(command: str) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command, and those of its verbs."""
    parser = parser_of(command)
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def examples(text: str, command: str) -> list[list[str]]:
    """The words of each example in a help text, without the name of the program."""
    lines = re.findall(rf"^ *(?:example: )?(?:python )?bridge\.py ({command}\b.*)$", text, re.MULTILINE)
    return [shlex.split(re.split(r" {2,}", line)[0]) for line in lines]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_help_has_examples_that_can_be_typed(command: str) -> None:
    """People copy them. The parser of the command accepts each."""
    for parser in parsers(command):
        found = examples(parser.format_help(), command)
        assert found, f"{parser.prog} has no example"
        for words in found:
            assert parser_of(command).parse_args(words[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit status 0, and under the name that is typed."""
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: bridge.py {command}")


def test_an_installed_host_has_another_name() -> None:
    """`bridge.py` is in a directory there that no person knows."""
    text = new_parser("status", "The state.", {"status": "now"}, prog="ibkr-bridge").format_help()

    assert text.startswith("usage: ibkr-bridge status")
    assert "\n  ibkr-bridge status  now" in text


def test_a_command_with_a_hyphen_has_a_module() -> None:
    """A module name cannot have one."""
    assert module_of("rotate-key") == "ibkr_bridge.cli.rotate_key"
