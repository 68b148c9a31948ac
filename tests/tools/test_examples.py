"""The recorder of examples: a bridge of today gives answers of the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ibkr_bridge.api.openapi.examples import load_examples
from tools.examples import SAMPLES, mask, open_bridge, record, shorten


def differences(recorded: Any, received: Any, place: str = "") -> list[str]:
    """Where two answers differ in form: members, and types. Null may stand for anything, and a list may be empty."""
    if recorded is None or received is None:
        return []
    if isinstance(recorded, dict) and isinstance(received, dict):
        missing = [f"{place}.{name}" for name in recorded.keys() ^ received.keys()]
        shared = recorded.keys() & received.keys()
        return missing + [
            each for name in shared for each in differences(recorded[name], received[name], f"{place}.{name}")
        ]
    if isinstance(recorded, list) and isinstance(received, list):
        pairs = zip(recorded, received, strict=False)
        return [each for pair in pairs for each in differences(*pair, f"{place}[]")]
    numbers = {int, float}
    is_same = type(recorded) is type(received) or {type(recorded), type(received)} <= numbers
    return [] if is_same else [place]


async def test_the_examples_are_what_the_bridge_answers(tmp_path: Path) -> None:
    """`python -m tools.examples` records them again."""
    examples = load_examples()
    async with open_bridge(tmp_path / "state") as harness:
        received = {sample.operation_id: answer async for sample, answer in record(harness)}

    assert {name: found for name in received if (found := differences(examples[name], received[name]))} == {}
    assert list(received) == [sample.operation_id for sample in SAMPLES if sample.is_example]


def test_what_changes_is_replaced() -> None:
    """Otherwise each recording would be a change."""
    first, second = "19ed64f958f5b6c915e9", "19ed64f958f5b6c915ea"
    answers = {"a": {"id": first, "at": "2026-06-17T16:00:07.5Z"}, "b": [second, first]}

    assert mask(answers) == {
        "a": {"id": "00000000000000000001", "at": "2026-06-17T16:00:00Z"},
        "b": ["00000000000000000002", "00000000000000000001"],
    }


def test_a_long_list_becomes_short() -> None:
    """Three bars show what a price history looks like."""
    assert shorten({"bars": [{"of": [1, 2, 3, 4]}, 2, 3, 4]}) == {"bars": [{"of": [1, 2, 3]}, 2, 3]}


def test_a_missing_member_and_another_type_are_differences() -> None:
    """A client would fail with them."""
    assert differences({"a": 1, "b": [{"c": "x"}]}, {"a": 2.5, "b": [{"c": 3}]}) == [".b[].c"]
    assert differences({"a": 1}, {}) == [".a"]
