"""The measures of functions and modules, on a small module whose figures can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.code_measures import ModuleMeasure, measure_module, report, short_functions_called_once

SOURCE = '''"""A module."""

# Twice five, measured.
LIMIT = 10  # per second


class Port(Protocol):
    def send(self) -> None:
        """Not a function with a body."""
        ...


def double(text):
    """Double a text.

    Its docstring has three lines.
    """
    doubled = _join(text, text)

    # A comment between two lines.
    return _check(doubled)


def _join(first, second):
    return first + second


def _check(text):
    if len(text) > LIMIT:
        raise ValueError(
            "too long"
        )
    return text


def _twice(text):
    return double(double(text))


def _named(text):
    return text


ROWS = (_twice, _twice, _named)
'''


@pytest.fixture
def module() -> ModuleMeasure:
    """The measures of the module above."""
    return measure_module(Path("example.py"), SOURCE)


def test_the_lines_of_a_function_are_those_of_its_body(module: ModuleMeasure) -> None:
    """Neither the signature nor a blank line or a comment counts, and a declaration is no function."""
    assert {function.name: function.lines for function in module.functions} == {
        "double": 2,
        "_join": 1,
        "_check": 5,
        "_twice": 1,
        "_named": 1,
    }
    assert [function.docstring_lines for function in module.functions] == [4, 0, 0, 0, 0]


def test_code_and_comments_are_counted_apart(module: ModuleMeasure) -> None:
    """A line with code and a comment is both; a docstring is neither."""
    assert (module.code_lines, module.comment_lines, module.line_count) == (20, 3, 44)


def test_only_a_short_private_function_called_once_is_listed(module: ModuleMeasure) -> None:
    """`_check` is long enough, two rows name `_twice`, and one row names `_named`."""
    assert list(short_functions_called_once([module])) == ["example.py:24: _join\n"]


def test_the_report_has_a_line_for_each_figure(module: ModuleMeasure) -> None:
    """With shares of the private functions."""
    figures = dict(line.strip().rsplit("  ", 1) for line in report([module]).splitlines())

    assert {label.strip(): value.strip() for label, value in figures.items()} == {
        "functions": "5",
        "median lines, without docstring": "1",
        "median lines, with docstring": "1",
        "private functions": "4",
        "used once": "3 (75 % of the private)",
        "with a body under 4 lines": "2 (50 % of the private)",
        "called there": "1 (25 % of the private)",
        "comment lines per 100 code lines": "15.0",
        "modules over 250 lines": "0 of 1",
    }


def test_a_call_of_the_base_class_is_no_use() -> None:
    """An override calls the method that it replaces, and is called by the base class."""
    source = "class Socket(Base):\n    def _open(self):\n        return super()._open()\n"

    (function,) = measure_module(Path("example.py"), source).functions

    assert (function.use_count, function.call_count) == (0, 0)
