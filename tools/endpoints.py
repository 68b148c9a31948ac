"""Writes the catalogue as a page, `docs/endpoints.md`: `python -m tools.endpoints > docs/endpoints.md`."""

from __future__ import annotations

from ibkr_bridge.ibkr.catalogue import CATALOGUE
from ibkr_bridge.ibkr.endpoint import Composition, Endpoint, Prerequisite

HEAD = """# What is known of each endpoint

The table that the bridge works by, `ibkr_bridge/ibkr/catalogue.py`; `python -m tools.endpoints` writes this page from
it. Paths are those below `/v1/api`. A path that is not listed gets the cautious row: a GET is a read and is sent each
time, any other method counts as trading. `/sso/validate` is the bridge's own; callers never reach `/sso`.

- **effect**: `read` is open to both keys, all others need the full one. `change` changes something that is no order, so
  neither a pause nor a cap holds it up; `trade` obeys every rule; `session` is the keeper's; `costs_money` needs
  `IBKR_ALLOW_PAID_SNAPSHOTS=yes` besides.
- **order**: which part of an order's life it is. A `cancel`, and a `reply` that declines, pass a pause and the caps; an
  `answer` to a notice passes the caps; a `preview` changes nothing.
- **limit**: IBKR's own, kept by the bridge; besides, all calls together stay below eight a second.
- **fresh**: how long an answer may be told again, unless something makes it stale before.
- **besides**: what the bridge asks before it, or more than once.
- **from**: OAS is IBKR's OpenAPI document 2.28.0, SW2 and JAR older descriptions of the Gateway, GUIDE the pages of
  IBKR's campus, CLIENTS what maintained clients call, OURS what the bridge adds.

| method | path | effect | order | limit | fresh | besides | from |
|---|---|---|---|---|---|---|---|
"""
BESIDES = {
    Prerequisite.ACCOUNTS: "accounts first",
    Prerequisite.PORTFOLIO: "portfolio accounts first",
    Prerequisite.SEARCH: "contract search first",
    Prerequisite.QUOTE: "quotes first",
    Prerequisite.TWICE: "asked twice",
    Prerequisite.HISTORY_FARM: "history farm opened first",
    Composition.FILTERED: "filtered by the bridge",
    Composition.PAGES: "all pages",
    Composition.FILLED: "until filled",
}


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(_row, CATALOGUE))


def _row(row: Endpoint) -> str:
    limit = f"{row.rate_limit.calls} in {_time(row.rate_limit.period_s)}" if row.rate_limit else ""
    besides = [BESIDES[each] for each in (*row.prerequisites, *([row.composition] if row.composition else []))]
    besides += [f"{most} {name} at most" for name, most in row.max_items]
    what = (f"`{row.path}`", row.effect.value, row.operation.value if row.operation else "")
    cells = (row.method, *what, limit, _time(row.ttl_s), ", ".join(besides), row.source)
    return f"| {' | '.join(cells)} |\n"


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s" if seconds else ""


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  # it is a command
