"""Parsing the texts of the environment, and the problems of those that cannot be parsed."""

from __future__ import annotations

import pytest

from ibkr_bridge.config.env_reader import MAX_KEY_LENGTH, MIN_KEY_LENGTH, PLACEHOLDER, EnvReader
from ibkr_bridge.config.value_types import Problem

KEY = "IBKR_BRIDGE_KEY"


def reader_of(**env: str) -> EnvReader:
    """A reader of these settings; the key is a secret."""
    return EnvReader(env, secrets=(KEY,), problems=list[Problem]())


def problem_texts(reader: EnvReader) -> list[str]:
    """The problems that it recorded."""
    return [f"{each.name} {each.found} {each.allowed}" for problems in reader._problems.values() for each in problems]


def test_a_value_is_read_and_an_empty_one_is_the_default() -> None:
    """Spaces around a value are ignored."""
    reader = reader_of(A=" 7 ", B="  ")

    assert (reader.parse("A", int, 1), reader.parse("B", int, 2), reader.parse("C", int, None)) == (7, 2, None)
    assert problem_texts(reader) == []


def test_a_text_that_cannot_be_parsed_is_a_problem_and_gives_the_default() -> None:
    """The reader continues, so that a person sees all problems at once."""
    reader = reader_of(A="x", B="y")

    assert (reader.parse("A", int, 1), reader.parse("B", int, 2)) == (1, 2)
    assert [line.split()[0] for line in problem_texts(reader)] == ["A", "B"]


@pytest.mark.parametrize("length", [MIN_KEY_LENGTH - 1, MAX_KEY_LENGTH + 1])
def test_the_problem_of_a_wrong_key_has_only_its_length(length: int) -> None:
    """The message never has the key."""
    secret = "k" * length
    reader = reader_of(**{KEY: secret})

    reader.key(KEY)

    (line,) = problem_texts(reader)
    assert f"{length} characters" in line
    assert secret not in line


@pytest.mark.parametrize(
    ("env", "is_required", "is_problem"),
    [({}, False, False), ({}, True, True), ({KEY: ""}, False, True), ({KEY: PLACEHOLDER}, False, True)],
)
def test_a_missing_key_is_a_problem_if_it_is_required_or_set_to_nothing(
    env: dict[str, str], is_required: bool, is_problem: bool
) -> None:
    """The placeholder of the example file counts as missing."""
    reader = reader_of(**env)

    reader.key(KEY, is_required=is_required)

    assert bool(problem_texts(reader)) is is_problem


def test_no_message_has_a_key_from_the_wrong_line() -> None:
    """A person may paste a key into the line of another setting."""
    secret = "k" * MIN_KEY_LENGTH
    reader = reader_of(A=f"x {secret}", **{KEY: secret})

    reader.parse("A", int, 1)

    assert secret not in "".join(problem_texts(reader))


def test_a_password_in_an_address_is_not_repeated() -> None:
    """A person copies the message into a chat."""
    read = EnvReader({"IBKR_GATEWAY_URL": "https://user:secret@127.0.0.1:5000/x"}, secrets=(), problems=[])
    read.gateway_address("IBKR_GATEWAY_URL", default="https://127.0.0.1:5000", pinned=False)

    assert [problem.found for problem in read.problems()] == ["found 'https://…@127.0.0.1:5000/x'"]
