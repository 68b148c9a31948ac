"""The question before a command does what cannot be undone."""

from __future__ import annotations

import io
import sys

import pytest

from ibkr_bridge.cli.confirmation import confirm


class Terminal(io.StringIO):
    """Standard input with a person in front of it."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return True


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_only_a_yes_is_a_yes(monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool) -> None:
    """Enter alone changes nothing."""
    monkeypatch.setattr(sys, "stdin", Terminal(typed))

    assert confirm("Replace it?", is_confirmed=False) is answer


def test_without_a_person_the_answer_is_no(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A script says `--yes`."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    assert not confirm("Replace it?", is_confirmed=False)
    assert "add --yes" in capsys.readouterr().err
    assert confirm("Replace it?", is_confirmed=True)
