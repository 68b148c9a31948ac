"""Print quotes as they change, until Ctrl-C.

    PYTHONPATH=. .venv/bin/python examples/python/stream_quotes.py AAPL MSFT

The bridge sends Server-Sent Events (`GET /events`): a name, and JSON. `stale` means that what is shown is old from now
on, `fresh` that it is good again. A stream that ends is opened again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator

import msgspec
import requests

from ibkr_bridge.models.quotes import Quote

RECONNECT_S = 3.0  # seconds before a new connection; a stream names the same time as `retry`
SILENCE_S = 40.0  # the bridge sends a comment every 15 seconds, so longer silence is a lost connection


def read_events(lines: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """The name and the data of each event. An event ends with an empty line."""
    name, data = "message", b""
    for line in lines:
        field, _, value = line.partition(b": ")
        if field == b"event":
            name = value.decode()
        elif field == b"data":
            data = value
        elif not line and data:
            yield name, data
            name, data = "message", b""


def open_stream(symbols: list[str]) -> requests.Response:
    """Open the stream. The key goes into a header, and to the bridge only."""
    session = requests.Session()
    session.trust_env = False  # no proxy
    return session.get(
        f"{os.environ['IBKR_BRIDGE_URL']}/events",
        params={"topics": "quotes", "symbols": ",".join(symbols)},
        headers={"X-Bridge-Key": os.environ["IBKR_BRIDGE_KEY"]},
        stream=True,
        timeout=(5.0, SILENCE_S),
        allow_redirects=False,
    )


def text_of(name: str, data: bytes) -> str:
    """One event as a line."""
    if name == "quotes":
        quote = msgspec.json.decode(data, type=Quote)
        mark = "" if quote.kind.value == "live" else f"  {quote.kind.value}"
        return f"{quote.as_of:%H:%M:%S}  {quote.symbol:<8} last {quote.last}  bid {quote.bid}  ask {quote.ask}{mark}"
    notice = msgspec.json.decode(data)
    return f"{name}: {notice.get('detail') or notice.get('reason')}"  # stale, fresh, gap, problem, end


def follow(symbols: list[str], count: int | None) -> None:
    """Print events. Ends after `count` quotes, or never.

    Raises:
        SystemExit: the bridge refuses the stream.
    """
    shown = 0
    while True:
        try:
            with open_stream(symbols) as response:
                if response.status_code != 200:
                    problem = response.json()
                    if not problem["retryable"]:
                        raise SystemExit(f"{problem['user_message']} ({problem['detail']})")
                    print(f"not now: {problem['user_message']}", flush=True)
                else:
                    for name, data in read_events(response.iter_lines()):
                        print(text_of(name, data), flush=True)
                        shown += name == "quotes"
                        if shown == count:
                            return
        except requests.RequestException:
            pass
        print(f"disconnected: connecting again in {RECONNECT_S:.0f} seconds", flush=True)
        time.sleep(RECONNECT_S)


def main() -> int:
    """Read the arguments and follow the quotes. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Print quotes as they change.")
    parser.add_argument("symbols", nargs="+", help="such as AAPL, SAP@IBIS or EUR.USD")
    parser.add_argument("--count", type=int, help="end after so many quotes")
    args = parser.parse_args()
    try:
        follow(args.symbols, args.count)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
