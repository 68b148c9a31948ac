"""The parsers of the commands: one form of help for all, with examples and the name that is typed on this host."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence

from ibkr_bridge.program_name import PROGRAM


class _ParserMade(Exception):
    """Carries the parser of a command that has no `build_parser`."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def new_parser(
    command: str, description: str, examples: Mapping[str, str], more: str = "", prog: str = PROGRAM
) -> argparse.ArgumentParser:
    """The parser of a command.

    Args:
        command: its name.
        description: what it does, in a sentence.
        examples: words after the name of the program, and what they do.
        more: further text below the examples.
        prog: the name of the program.
    """
    return argparse.ArgumentParser(
        prog=f"{prog} {command}",
        description=description,
        epilog=examples_text(examples, prog) + (f"\n\n{more}" if more else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def examples_text(examples: Mapping[str, str], prog: str = PROGRAM) -> str:
    """The examples as lines of help. What they do stands in one column."""
    width = max((len(words) for words in examples), default=0)
    lines = (f"  {prog} {words:<{width}}  {text}".rstrip() for words, text in examples.items())
    return "\n".join(("examples:", *lines))


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of any command, for completion and for tests."""
    module = importlib.import_module(module_of(command))
    if hasattr(module, "build_parser"):
        parser: argparse.ArgumentParser = module.build_parser()
        return parser
    return _intercept(module.run)


def module_of(command: str) -> str:
    """The module of a command."""
    return f"ibkr_bridge.cli.{command.replace('-', '_')}"


def _intercept(run: object) -> argparse.ArgumentParser:
    """The parser that a command makes when it runs: it is stopped before it reads its arguments."""
    original = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, _: Sequence[str] | None = None) -> argparse.Namespace:
        raise _ParserMade(parser)

    argparse.ArgumentParser.parse_args = stop  # type: ignore[method-assign,assignment]
    try:
        run([])  # type: ignore[operator]
    except _ParserMade as made:
        return made.parser
    finally:
        argparse.ArgumentParser.parse_args = original  # type: ignore[method-assign]
    raise TypeError("the command has no parser")
