"""Findings from what the running bridge says. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ibkr_bridge.cli.doctor.bridge_probe import CONTRACT
from ibkr_bridge.cli.doctor.collect import Facts
from ibkr_bridge.cli.doctor.finding import Finding, Layer
from ibkr_bridge.cli.status import STATE_TEXT
from ibkr_bridge.conditions.condition import Severity
from ibkr_bridge.conditions.rules import MAX_SKEW_S
from ibkr_bridge.config.settings import Mode
from ibkr_bridge.program_name import INSTALLED_NAME
from ibkr_bridge.redaction import mask_account

LAYER_OF_CONDITION: Mapping[str, Layer] = {
    **dict.fromkeys(("reload_refused", "restart_needed", "mode_differs"), Layer.SETTINGS),
    **dict.fromkeys(("state_unavailable", "disk_low", "journal_unavailable", "history_unavailable"), Layer.STATE),
    **dict.fromkeys(("shutting_down", "starting"), Layer.BRIDGE),
    **dict.fromkeys(("gateway_unreachable", "gateway_forbidden", "gateway_stuck"), Layer.GATEWAY),
    **dict.fromkeys(("gateway_timeout", "ibkr_unavailable", "maintenance", "rate_limited"), Layer.IBKR),
    **dict.fromkeys(("penalty_box", "endpoint_closed"), Layer.IBKR),
    "clock_skewed": Layer.CLOCK,
    **dict.fromkeys(("login_unclear", "signed_out", "login_ends"), Layer.LOGIN),
    **dict.fromkeys(("activating", "credential_refused", "secret_lost", "revoked", "mismatch"), Layer.LOGIN),
    **dict.fromkeys(("vault_locked", "credential_missing", "credential_unreadable"), Layer.LOGIN),
    **dict.fromkeys(("brokerage_lost", "brokerage_disconnected", "brokerage_unusable"), Layer.BROKERAGE),
    **dict.fromkeys(("establishing", "competing", "session_flapping"), Layer.BROKERAGE),
    **dict.fromkeys(("trading_paused", "orders_unknown", "order_question"), Layer.ORDERS),
    **dict.fromkeys(("stream_down", "topics_silent"), Layer.STREAM),
}
NO_MARKET_DATA = ("delayed", "none")
"""Kinds of quotes of a user without a subscription."""


def bridge(facts: Facts) -> Iterator[Finding]:
    """Whether the bridge answers, with this key."""
    answer, expected = facts.bridge, f"an answer at {facts.settings.url}"
    if answer is None:
        fix = f"look at its log, and at what systemd says: systemctl status {INSTALLED_NAME}"
        yield Finding(Layer.BRIDGE, "bridge", f"no answer at {facts.settings.url} in time", expected, fix)
    elif answer.status is None:
        yield Finding(Layer.BRIDGE, "bridge", answer.error, expected, answer.fix)
    else:
        yield Finding(Layer.BRIDGE, "bridge", f"answers at {facts.settings.url}")


def mode(facts: Facts) -> Iterator[Finding]:
    """Whether the bridge runs in the mode of these settings: the file may have changed since it started."""
    status, wanted = facts.bridge.status if facts.bridge is not None else None, facts.settings.trading_mode.value
    if status is None or status["mode"] == wanted:
        return
    found = f"the bridge runs in {status['mode']} mode, and these settings say {wanted}"
    fix = "restart the bridge when no order is on its way, or correct IBKR_TRADING_MODE"
    yield Finding(Layer.SETTINGS, "mode", found, f"{wanted} mode", fix)


def conditions(facts: Facts) -> Iterator[Finding]:
    """All that the bridge says a person may have to know, each in its layer."""
    status = facts.bridge.status if facts.bridge is not None else None
    for each in status["conditions"] if status is not None else ():
        is_problem = each["severity"] != Severity.NOTICE.value
        layer = LAYER_OF_CONDITION.get(each["id"], Layer.BRIDGE)  # a newer bridge may have more conditions
        yield Finding(layer, each["id"], each["text"], "", each["do"] if is_problem else "")


def session(facts: Facts) -> Iterator[Finding]:
    """The state of the session; its condition says what to do."""
    if facts.bridge is not None and facts.bridge.status is not None:
        state = facts.bridge.status["state"]
        yield Finding(Layer.BROKERAGE, "session", STATE_TEXT.get(state, state), "ready")


def accounts(facts: Facts) -> Iterator[Finding]:
    """Whether the mode and the list of accounts fit the login."""
    status = facts.bridge.status if facts.bridge is not None else None
    if status is None or not status["accounts"]:
        return
    present = {each["account"]: each["kind"] for each in status["accounts"]}
    text = ", ".join(f"{number} ({kind})" for number, kind in present.items())
    missing = sorted({mask_account(each) for each in facts.settings.allowed_accounts} - set(present))
    if status["mode"] == Mode.PAPER.value and set(present.values()) == {"live"}:
        fix = "sign in with the user of a paper account; or set IBKR_TRADING_MODE=live to trade with real money"
        yield Finding(Layer.ACCOUNTS, "accounts", f"{text}, and the mode is paper", "paper accounts", fix)
    elif missing:
        found = f"the login has {text}, and not {', '.join(missing)}"
        fix = "correct IBKR_ALLOWED_ACCOUNTS, or sign in with the other user"
        yield Finding(Layer.ACCOUNTS, "accounts", found, "all of IBKR_ALLOWED_ACCOUNTS", fix)
    else:
        yield Finding(Layer.ACCOUNTS, "accounts", f"{text}; the mode is {status['mode']}")


def market_data(facts: Facts) -> Iterator[Finding]:
    """Whether the user has market data of one contract that everybody knows."""
    answer, expected = facts.bridge, f"a live quote of {CONTRACT}"
    if answer is None or not answer.is_ready:
        return
    if answer.quote_error:
        yield Finding(Layer.MARKET_DATA, "quotes", answer.quote_error, expected, "see the error above, then ask again")
    elif answer.quote is None:
        yield Finding(Layer.MARKET_DATA, "quotes", "not requested, to leave the Gateway's slots to others", expected)
    else:
        kind = str(answer.quote.get("kind") or "unknown")
        is_missing = kind in NO_MARKET_DATA
        fix = "subscribe to market data in Client Portal, or share it with the paper user" if is_missing else ""
        yield Finding(Layer.MARKET_DATA, "quotes", f"the quote of {CONTRACT} is {kind}", expected, fix)


def clock(facts: Facts) -> Iterator[Finding]:
    """This machine's clock beside IBKR's; a difference that matters is a condition."""
    status = facts.bridge.status if facts.bridge is not None else None
    skew_s = status["stream"].get("clock_skew_s") if status is not None else None
    if skew_s is None:
        yield Finding(Layer.CLOCK, "clock", "not compared: IBKR's stream shows it after half a minute")
    else:
        side = "ahead of" if skew_s > 0 else "behind"
        yield Finding(Layer.CLOCK, "clock", f"{abs(skew_s):.1f} s {side} IBKR's", f"{MAX_SKEW_S:.0f} s at most")


def stream(facts: Facts) -> Iterator[Finding]:
    """IBKR's websocket, and what is requested on it."""
    if facts.bridge is None or facts.bridge.status is None:
        return
    status = facts.bridge.status["stream"]
    state = "up" if status["up"] else f"down: {status['reason']}"
    found = f"{state}; {status['topics']} topics, {status['silent_topics']} of them silent; {status['readers']} readers"
    yield Finding(Layer.STREAM, "stream", found, "up")
