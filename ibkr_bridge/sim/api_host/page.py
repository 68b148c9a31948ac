"""What the pages of the simulated host have in common: their frame, and the forms that browsers and programs send."""

from __future__ import annotations

import html
from email.message import Message
from email.parser import BytesParser
from urllib.parse import parse_qsl

from ibkr_bridge.sim.market.dispatch import MarketResponse
from ibkr_bridge.sim.request_log import LoggedRequest

HTML = "text/html;charset=utf-8"
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 34rem; padding: 0 1rem }
label { display: block; margin: .8rem 0 }
input, select, button { font: inherit; box-sizing: border-box; max-width: 100% }
input:not([type=file]), select { display: block; width: 100%; padding: .4rem }
button { padding: .4rem 1rem; margin-right: .5rem }
dd { margin: 0 0 .8rem; font-family: monospace; overflow-wrap: anywhere; user-select: all }
"""


def page(title: str, content: str, status: int = 200) -> MarketResponse:
    """A page of the host.

    Args:
        title: plain text.
        content: HTML.
    """
    head = (
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    )
    body = (
        f"<h1>{html.escape(title)}</h1>{content}<p><small>This is a simulator and not Interactive Brokers.</small></p>"
    )
    text = f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'
    return MarketResponse(status, text.encode(), HTML)


def is_for_person(logged: LoggedRequest) -> bool:
    """Whether a browser sent it, and not a program."""
    return "text/html" in (logged.header("Accept") or "")


def read_form(logged: LoggedRequest) -> dict[str, str]:
    """The fields of a form, and the content of its files."""
    content_type = logged.header("Content-Type") or ""
    if not content_type.startswith("multipart/form-data"):
        return dict(parse_qsl(logged.body.decode("utf-8", "replace"), keep_blank_values=True))
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    parts = BytesParser().parsebytes(head + logged.body).get_payload()
    return dict(_field(part) for part in parts if isinstance(part, Message)) if isinstance(parts, list) else {}


def _field(part: Message) -> tuple[str, str]:
    content = part.get_payload(decode=True)
    name = part.get_param("name", "", "Content-Disposition")
    return str(name), content.decode("utf-8", "replace") if isinstance(content, bytes) else ""
