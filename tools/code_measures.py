"""Measure the size of functions and modules: `python -m tools.code_measures [--list] [PATH …]`.

Without a path it measures `ibkr_bridge/`. `--list` also names each short private function that is called at one place.
The figures show where to look; they are no limits. What is measured:

- A *function* is a function or a method with a body. Declarations (`...`, as in a protocol) are left out.
- Its *lines* are those of its body, without blank lines and lines that hold only a comment. The signature is left out.
- A *private function* begins with one underscore. It is *used once* if its module reads its name at one place. Either
  it is called there, or it is named: as a row of a table, as a callback, or as a property.
- A *code line* holds more than a comment or a docstring. A *comment line* holds a comment, alone or after code.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PACKAGE = Path(__file__).resolve().parents[1] / "ibkr_bridge"
SHORT_LINES = 4  # a private function used once with fewer lines often says less than its lines in place would
LARGE_MODULE_LINES = 250
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class FunctionMeasure:
    """One function that has a body."""

    name: str
    line: int
    lines: int
    """Of the body, without the docstring."""
    docstring_lines: int
    use_count: int
    """How often the module reads the name; other modules are not looked at."""
    call_count: int
    """How many of these uses are calls."""

    @property
    def is_private(self) -> bool:
        """Whether the name begins with one underscore."""
        return self.name.startswith("_") and not self.name.startswith("__")

    @property
    def is_short_and_used_once(self) -> bool:
        """Whether it is worth a look: its lines may say more in place, at least if it is called there."""
        return self.is_private and self.use_count == 1 and self.lines < SHORT_LINES


@dataclass(frozen=True)
class ModuleMeasure:
    """One module."""

    path: Path
    line_count: int
    code_lines: int
    comment_lines: int
    functions: tuple[FunctionMeasure, ...]


def measure_module(path: Path, source: str) -> ModuleMeasure:
    """Measure one module from its text."""
    tree = ast.parse(source)
    code, comments = _code_and_comment_lines(source)
    code -= {line for docstring in _docstrings(tree) for line in _lines_of(docstring)}
    nodes = list(ast.walk(tree))
    uses = Counter(_name_read(node) for node in nodes)
    calls = Counter(_name_read(node.func) for node in nodes if isinstance(node, ast.Call))
    functions = [node for node in nodes if isinstance(node, Function) and not _is_declaration(node)]
    measured = tuple(_measure_function(node, code, uses[node.name], calls[node.name]) for node in functions)
    return ModuleMeasure(path, len(source.splitlines()), len(code), len(comments), measured)


def report(modules: Iterable[ModuleMeasure]) -> str:
    """The figures of all modules together, one on a line.

    Raises:
        statistics.StatisticsError: the modules have no function.
    """
    modules = list(modules)
    functions = [function for module in modules for function in module.functions]
    private = [function for function in functions if function.is_private]
    used_once = [function for function in private if function.use_count == 1]
    short = [function for function in used_once if function.is_short_and_used_once]
    called = [function for function in short if function.call_count]
    code, comments = sum(module.code_lines for module in modules), sum(module.comment_lines for module in modules)
    large = [module for module in modules if module.line_count > LARGE_MODULE_LINES]
    rows = (
        ("functions", f"{len(functions)}"),
        ("median lines, without docstring", f"{median(function.lines for function in functions):g}"),
        ("median lines, with docstring", f"{median(each.lines + each.docstring_lines for each in functions):g}"),
        ("private functions", f"{len(private)}"),
        ("  used once", _with_share(len(used_once), len(private))),
        (f"    with a body under {SHORT_LINES} lines", _with_share(len(short), len(private))),
        ("      called there", _with_share(len(called), len(private))),
        ("comment lines per 100 code lines", f"{100 * comments / max(code, 1):.1f}"),
        (f"modules over {LARGE_MODULE_LINES} lines", f"{len(large)} of {len(modules)}"),
    )
    return "".join(f"{label:<34}{value}\n" for label, value in rows)


def _with_share(count: int, total: int) -> str:
    return f"{count} ({100 * count / max(total, 1):.0f} % of the private)"


def short_functions_called_once(modules: Iterable[ModuleMeasure]) -> Iterator[str]:
    """One line for each, as editors open it: `path:line: name`."""
    for module in modules:
        for function in module.functions:
            if function.is_short_and_used_once and function.call_count:
                yield f"{module.path}:{function.line}: {function.name}\n"


def _name_read(node: ast.AST) -> str:
    """The name or the attribute that an expression reads; empty for everything else."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and ast.unparse(node.value) != "super()":
        return node.attr  # what `super()` has is a method of another class
    return ""


def _measure_function(node: Function, code: set[int], use_count: int, call_count: int) -> FunctionMeasure:
    docstring = _docstring(node)
    body = node.body[1:] if docstring else node.body
    lines = code & {line for statement in body for line in _lines_of(statement)}
    docstring_lines = len(_lines_of(docstring)) if docstring else 0
    return FunctionMeasure(node.name, node.lineno, len(lines), docstring_lines, use_count, call_count)


def _code_and_comment_lines(source: str) -> tuple[set[int], set[int]]:
    """The numbers of the lines that hold code, docstrings included, and of those that hold a comment."""
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):  # comments are not in the parsed code
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in NO_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    return code, comments


def _docstrings(tree: ast.Module) -> Iterator[ast.stmt]:
    """Every text that stands alone, those below a field included: it documents, and does nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node


def _docstring(node: Function) -> ast.stmt | None:
    return node.body[0] if ast.get_docstring(node, clean=False) is not None else None


def _lines_of(statement: ast.stmt) -> range:
    return range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)


def _is_declaration(node: Function) -> bool:
    """Whether the body is `...`, with or without a docstring."""
    body = node.body[1:] if _docstring(node) else node.body
    return all(isinstance(each, ast.Expr) and ast.unparse(each) == "..." for each in body)


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(prog="python -m tools.code_measures")
    arguments.add_argument("paths", nargs="*", type=Path, default=[PACKAGE], help="files or directories")
    arguments.add_argument(
        "--list", action="store_true", help="name each short private function that is called at one place"
    )
    options = arguments.parse_args()
    files = sorted(file for path in options.paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    modules = [measure_module(file, file.read_text("utf-8")) for file in files]
    print(report(modules), end="")
    if options.list:
        print("", *short_functions_called_once(modules), sep="\n", end="")


if __name__ == "__main__":
    main()
