"""The addresses of this host at which others may reach it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_bridge.cli.doctor import host_addresses
from ibkr_bridge.cli.doctor.host_addresses import MAX_ADDRESSES, other_addresses, read_other_addresses

FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.2.0/24 2 0 2
        |-- 10.1.2.0
           /24 link UNICAST
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.2.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
Local:
        |-- 10.1.2.3
           /32 host LOCAL
"""
IF_INET6 = """00000000000000000000000000000001 01 80 10 80       lo
fe8000000000000002ff60fffe3d0d2c 02 40 20 80     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
"""


def test_loopback_and_addresses_of_one_link_are_left_out() -> None:
    """Nobody else reaches the first, and the second need an interface."""
    assert other_addresses(FIB_TRIE, IF_INET6) == ["10.1.2.3", "2001:db8::7"]


def test_not_all_addresses_of_a_host_with_many_containers_are_tried() -> None:
    """Each takes time."""
    table = "".join(f"  |-- 10.0.0.{number}\n     /32 host LOCAL\n" for number in range(1, 100))

    assert len(other_addresses(table, "")) == MAX_ADDRESSES


@pytest.mark.parametrize("table", ["", "no table", "\x00" * 40])
def test_other_text_has_no_address(table: str) -> None:
    """The form of the kernel's tables is not promised."""
    assert other_addresses(table, table) == []


def test_without_the_tables_there_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may hide them."""
    monkeypatch.setattr(host_addresses, "FIB_TRIE", Path("/proc/none"))
    monkeypatch.setattr(host_addresses, "IF_INET6", Path("/proc/none"))

    assert read_other_addresses() == []
