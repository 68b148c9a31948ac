"""The addresses of this host at which others may reach it, read from the kernel's tables."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

FIB_TRIE, IF_INET6 = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")
LOCAL_IPV4 = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")
MAX_ADDRESSES = 8  # a host with many containers has a hundred


def other_addresses(ipv4_table: str, ipv6_table: str) -> list[str]:
    """The addresses of the host without those of loopback and of a single link, each once, at most `MAX_ADDRESSES`."""
    found = (ipaddress.ip_address(text) for text in _listed(ipv4_table, ipv6_table))
    usable = (str(each) for each in found if not each.is_loopback and not each.is_link_local)
    return list(dict.fromkeys(usable))[:MAX_ADDRESSES]


def _listed(ipv4_table: str, ipv6_table: str) -> Iterator[str]:
    yield from LOCAL_IPV4.findall(ipv4_table)
    for line in ipv6_table.splitlines():
        digits = line.split(" ", 1)[0]
        if re.fullmatch("[0-9a-f]{32}", digits):
            yield ":".join(digits[at : at + 4] for at in range(0, 32, 4))


def read_other_addresses() -> list[str]:
    """The same of this host; without the kernel's tables there is none."""
    return other_addresses(_read(FIB_TRIE), _read(IF_INET6))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
