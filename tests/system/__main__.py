"""The part of `make test-system` that boots a Debian, or a word on why that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.system.machine import lacking


def main(words: list[str]) -> int:
    """Run pytest with these words; its status, but 0 where no machine can be booted."""
    if reason := lacking():
        print(f"skipped: no Debian is booted, as {reason}")
        return 0
    in_order = "--randomly-dont-reorganize"  # the tests of one machine are one story
    return pytest.main([str(Path(__file__).resolve().parent), "-s", in_order, *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
