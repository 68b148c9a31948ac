"""`bridge.py open`: open the operator's page in a browser, with a token for it alone."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ibkr_bridge.cli import EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import open_client, report_failure, settings_or_report
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.client import ClientError

DEFAULT_MINUTES, MAX_MINUTES = 60, 24 * 60
EXAMPLES = {
    "open": "for an hour",
    "open --minutes 480": "for a day at work",
    "open --print": "the address, for another computer",
}
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
HEADLESS = """\
Open this address in a browser. It works until {expires}, and only for the page:

  {address}

From another computer, first make a tunnel: ssh -L {port}:127.0.0.1:{port} {user}@this-host
"""


def run(argv: Sequence[str]) -> int:
    """Open the page. Returns 0, 1 if the bridge issues no token, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    wanted = {"audience": "page", "scope": "trade" if args.trade else "read", "expires_in": args.minutes * 60}
    try:
        with open_client(settings) as client:
            token: dict[str, Any] = client.request("POST", "/auth/token", body=wanted).json()
    except ClientError as exc:
        return report_failure(exc, as_json=False)
    address = f"{settings.url}/#token={token['token']}"
    if not args.print and has_display(os.environ) and webbrowser.open(address):
        print(f"The page is open in your browser, at {settings.url}/. It works until {token['expires']}.")
        return EXIT_OK
    print(_headless_text(address, token["expires"]), end="")
    return EXIT_OK


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("open", "Open the page that shows what the bridge does.", EXAMPLES)
    parser.add_argument("--trade", action="store_true", help="let the page answer IBKR's questions about orders")
    parser.add_argument(
        "--minutes",
        type=minutes,
        default=DEFAULT_MINUTES,
        metavar="N",
        help=f"how long the page works, 1 to {MAX_MINUTES} (default: {DEFAULT_MINUTES})",
    )
    parser.add_argument("--print", action="store_true", help="print the address instead of opening a browser")
    return parser


def minutes(text: str) -> int:
    """Parse the lifetime of a page.

    Raises:
        ValueError: it is no number, or too large.
    """
    number = int(text)
    if not 1 <= number <= MAX_MINUTES:
        raise ValueError(text)
    return number


def has_display(env: Mapping[str, str]) -> bool:
    """Whether a browser with a window can be opened here; a browser in the terminal cannot show the page."""
    return not sys.platform.startswith("linux") or any(env.get(name) for name in DISPLAYS)


def _headless_text(address: str, expires: str) -> str:
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or "you"
    return HEADLESS.format(address=address, expires=expires, port=urlsplit(address).port, user=user)
