"""Tests of the translation between IBKR's JSON and the plain API."""


def shown(*values: object) -> tuple[object, ...]:
    """Some values, to be compared with numbers of any type."""
    return values
