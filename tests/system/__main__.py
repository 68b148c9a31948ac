"""The part of `make test-system` that boots a Debian. If this machine cannot do that, it prints why and skips it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.system.machine import missing_requirement


def main(arguments: list[str]) -> int:
    """Run pytest with these arguments. Returns its exit status, or 0 if no machine can be booted here."""
    if reason := missing_requirement():
        print(f"skipped: no Debian is booted: {reason}")
        return 0
    in_order = "--randomly-dont-reorganize"  # each test depends on what the tests before it did to the machine
    return pytest.main([str(Path(__file__).resolve().parent), "-s", in_order, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
