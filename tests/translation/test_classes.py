"""IBKR's words for classes, sides and rights."""

from __future__ import annotations

import pytest

from ibkr_bridge.models.base import AssetClass, Right, Side
from ibkr_bridge.translation.classes import WORD_BY_CLASS, asset_class_of, right_of, side_of


@pytest.mark.parametrize("asset_class", [each for each in AssetClass if each is not AssetClass.OTHER])
def test_every_class_has_a_word_of_ibkrs(asset_class: AssetClass) -> None:
    """And the word leads back to it; ETFs are stocks at IBKR."""
    found = asset_class_of(WORD_BY_CLASS[asset_class])

    assert found is (AssetClass.STOCK if asset_class is AssetClass.ETF else asset_class)


@pytest.mark.parametrize("word", ["", None, "XYZ", 5])
def test_an_unknown_word_is_another_class(word: object) -> None:
    """IBKR adds classes."""
    assert (asset_class_of(word), side_of(word), right_of(word)) == (AssetClass.OTHER, None, None)


def test_sides_and_rights_come_as_letters_and_as_words() -> None:
    """IBKR's lists differ."""
    assert [side_of(word) for word in ("B", "buy", "BOT", "S", "SELL")] == [Side.BUY] * 3 + [Side.SELL] * 2
    assert [right_of(word) for word in ("C", "PUT")] == [Right.CALL, Right.PUT]
