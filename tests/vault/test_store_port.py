"""What a store sees of a credential."""

from __future__ import annotations

from ibkr_bridge.vault.store_port import Owner, SealedRow


def test_a_row_names_its_sealed_columns() -> None:
    """The name of a column is the purpose to which its bytes are bound."""
    row = SealedRow(Owner("user-17", "anna"), "oauth1a", 1, b"bundle", None)

    assert row.sealed_columns == {"bundle": b"bundle"}


def test_no_representation_shows_the_bytes_or_the_account() -> None:
    """A row in a traceback tells nothing."""
    row = SealedRow(Owner("user-17", "anna"), "oauth1a", 1, b"BUNDLE", b"TOKEN", account_id="U1234567")

    assert not [each for each in ("BUNDLE", "TOKEN", "U1234567") if each in repr(row)]
