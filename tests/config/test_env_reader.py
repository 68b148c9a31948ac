"""Texts of the environment as values, and how what cannot be one is complained about."""

from __future__ import annotations

import pytest

from ibkr_bridge.config.env_reader import MAX_KEY_LENGTH, MIN_KEY_LENGTH, PLACEHOLDER, EnvReader
from ibkr_bridge.config.value_types import Problem

KEY = "IBKR_BRIDGE_KEY"


def reader(**env: str) -> EnvReader:
    """A reader of these settings, of which the key is a secret."""
    return EnvReader(env, secrets=(KEY,), problems=list[Problem]())


def found(made: EnvReader) -> list[str]:
    """What it complained about."""
    return [f"{each.name} {each.found} {each.allowed}" for noted in made._problems.values() for each in noted]


def test_a_value_is_read_and_an_empty_one_is_the_default() -> None:
    """Spaces around it do not count."""
    made = reader(A=" 7 ", B="  ")

    assert (made.parse("A", int, 1), made.parse("B", int, 2), made.parse("C", int, None)) == (7, 2, None)
    assert found(made) == []


def test_what_cannot_be_read_is_noted_and_the_default_goes_on() -> None:
    """A person sees everything there is to mend at once."""
    made = reader(A="x", B="y")

    assert (made.parse("A", int, 1), made.parse("B", int, 2)) == (1, 2)
    assert [line.split()[0] for line in found(made)] == ["A", "B"]


@pytest.mark.parametrize("length", [MIN_KEY_LENGTH - 1, MAX_KEY_LENGTH + 1])
def test_a_key_of_the_wrong_length_is_told_by_its_length_alone(length: int) -> None:
    """The secret itself is never repeated."""
    secret = "k" * length
    made = reader(**{KEY: secret})

    made.key(KEY)

    (line,) = found(made)
    assert f"{length} characters" in line
    assert secret not in line


@pytest.mark.parametrize(
    ("env", "needed", "complains"),
    [({}, False, False), ({}, True, True), ({KEY: ""}, False, True), ({KEY: PLACEHOLDER}, False, True)],
)
def test_a_key_that_is_missing_is_a_problem_where_it_is_needed_or_named(
    env: dict[str, str], needed: bool, complains: bool
) -> None:
    """The example file's placeholder is none."""
    made = reader(**env)

    made.key(KEY, needed=needed)

    assert bool(found(made)) is complains


def test_a_key_in_the_wrong_line_is_not_repeated() -> None:
    """Somebody pasted it there."""
    secret = "k" * MIN_KEY_LENGTH
    made = reader(A=f"x {secret}", **{KEY: secret})

    made.parse("A", int, 1)

    assert secret not in "".join(found(made))
