"""Print the catalogue as the page `docs/endpoints.md`: `python -m tools.endpoints > docs/endpoints.md`."""

from __future__ import annotations

from ibkr_bridge.ibkr.catalogue import CATALOGUE
from ibkr_bridge.ibkr.endpoint import Composition, Endpoint, Prerequisite

HEAD = """# What is known of each endpoint

The bridge's catalogue, `ibkr_bridge/ibkr/catalogue.py`. `python -m tools.endpoints` generates this page from it. Paths
are those below `/v1/api`. A path that is not listed gets a cautious row: a GET is a read and is never cached, unless
another method at that path does more than read or is an order call; everything else counts as trading.
`/sso/validate` is for the bridge only; callers never reach `/sso`.

- **effect**: both keys may send a `read`; all others need the full key. `change` changes something other than orders,
  so neither a pause nor an order limit stops it. `trade` obeys every rule. `session` is limited by the keeper.
  `costs_money` also needs `IBKR_ALLOW_PAID_SNAPSHOTS=yes`.
- **order**: the order operation. A pause and the order limits do not stop a `cancel` or a `reply` that declines. The
  order limits do not stop an `answer` to a notice. A `preview` changes nothing.
- **limit**: IBKR's rate limit, which the bridge obeys. In addition all calls together stay below eight a second.
- **TTL**: how long a response may be served from the cache, unless a change invalidates it earlier.
- **extra calls**: what the bridge sends before the call or in addition to it.
- **source**: OAS is IBKR's OpenAPI document 2.28.0. SW2 and JAR are older descriptions of the Gateway. GUIDE stands for
  the pages of IBKR's campus, CLIENTS for calls that maintained clients send, OURS for calls that the bridge adds.

| method | path | effect | order | limit | TTL | extra calls | source |
|---|---|---|---|---|---|---|---|
"""
EXTRA_CALLS = {
    Prerequisite.ACCOUNTS: "accounts first",
    Prerequisite.PORTFOLIO: "portfolio accounts first",
    Prerequisite.SEARCH: "contract search first",
    Prerequisite.QUOTE: "quotes first",
    Prerequisite.TWICE: "sent twice",
    Prerequisite.HISTORY_FARM: "history farm opened first",
    Composition.FILTERED: "filtered by the bridge",
    Composition.PAGES: "all pages",
    Composition.FILLED: "repeated until filled",
}


def page() -> str:
    """The complete page."""
    return HEAD + "".join(map(_row, CATALOGUE))


def _row(endpoint: Endpoint) -> str:
    limit = endpoint.rate_limit
    extra = [*endpoint.prerequisites, *([endpoint.composition] if endpoint.composition else [])]
    notes = [*(EXTRA_CALLS[each] for each in extra), *(f"{most} {name} at most" for name, most in endpoint.max_items)]
    cells = (
        endpoint.method,
        f"`{endpoint.path}`",
        endpoint.effect.value,
        endpoint.operation.value if endpoint.operation else "",
        f"{limit.calls} in {_format_span(limit.period_s)}" if limit else "",
        _format_span(endpoint.ttl_s),
        ", ".join(notes),
        endpoint.source,
    )
    return f"| {' | '.join(cells)} |\n"


def _format_span(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s" if seconds else ""


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  # a command prints
