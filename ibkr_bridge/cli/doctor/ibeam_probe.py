"""Asks IBeam on this machine how it is.

`/livez` is answered by IBeam alone. `/readyz` makes IBeam send a call to IBKR through the Gateway, which takes one of
its five slots; so it is requested only if the bridge has just seen that IBKR answers.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass

LIVE_URL, READY_URL = "http://127.0.0.1:5001/livez", "http://127.0.0.1:5001/readyz"
TIMEOUT_S = 4.0


@dataclass(frozen=True)
class IBeamAnswer:
    """The statuses of IBeam's two pages; 0 if nothing came, None if it was not requested."""

    live: int = 0
    ready: int | None = None


def probe_ibeam(*, may_call: bool, live_url: str = LIVE_URL, ready_url: str = READY_URL) -> IBeamAnswer:
    """Ask IBeam.

    Args:
        may_call: whether a call to IBKR does no harm now.
        live_url: IBeam's page of its own life.
        ready_url: the page that makes a call.
    """
    live = _status_of(live_url)
    return IBeamAnswer(live, _status_of(ready_url) if live and may_call else None)


def _status_of(url: str) -> int:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=TIMEOUT_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except (OSError, ValueError):
        return 0
