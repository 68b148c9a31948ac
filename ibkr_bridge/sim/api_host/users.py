"""The users of the simulated host: their registrations, their markets, and the live sessions they have now."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ibkr_bridge.sim.api_host.keys import UserKeys, usual_keys
from ibkr_bridge.sim.api_host.registration import Registration, UserMarket
from ibkr_bridge.sim.api_host.registry import Consumer, LiveSession, Registry, UploadedKeys
from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.clock import Calendar, SimClock
from ibkr_bridge.sim.market.sessions import Sessions
from ibkr_bridge.sim.market.world import World

CONSUMER_KEY = "TESTCONSX"


class Users:
    """All users of one host.

    Args:
        port: gives the port of the host.
        options: of each user's `MarketStage`.
    """

    def __init__(self, clock: SimClock, rules: Rules, port: Callable[[], int], options: Mapping[str, Any]) -> None:
        self.registry = Registry()
        self.markets: dict[str, UserMarket] = {}
        """The market of each username."""
        self._clock = clock
        self._calendar = Calendar(clock)
        self._rules = rules
        self._port = port
        self._options = options

    def register(
        self,
        username: str,
        consumer_key: str = CONSUMER_KEY,
        *,
        accounts: tuple[str, ...] = (),
        keys: UserKeys | None = None,
        is_paper: bool = True,
        beside: World | None = None,
    ) -> Registration:
        """Register a username, as its user does on IBKR's page; without `keys` it gets the usual ones.

        `beside` is the world of a simulated Gateway at which the same username signs in: the accounts and the orders
        are the same, and there is one brokerage session for both.
        """
        keys = keys or usual_keys()
        uploaded = UploadedKeys.read(keys.signature_public_pem, keys.encryption_public_pem, keys.dhparam_pem)
        self._find_or_add_market(username, accounts, is_paper=is_paper, beside=beside)
        return self._add_token(username, consumer_key, uploaded, keys, is_paper=is_paper)

    def register_files(
        self,
        username: str,
        consumer_key: str,
        signature_public_pem: str,
        encryption_public_pem: str,
        dhparam_pem: str,
        *,
        accounts: tuple[str, ...] = (),
        is_paper: bool = True,
    ) -> Registration:
        """Register a username with files that were made elsewhere; the private halves stay there.

        Raises:
            ValueError: one of the files is not what it should be.
        """
        uploaded = UploadedKeys.read(signature_public_pem, encryption_public_pem, dhparam_pem)
        self._find_or_add_market(username, accounts, is_paper=is_paper)
        return self._add_token(username, consumer_key, uploaded, None, is_paper=is_paper)

    def add_user(self, username: str, *, accounts: tuple[str, ...] = (), is_paper: bool = True) -> UserMarket:
        """Add a username that is at no consumer yet, for third-party authorization and for OAuth 2.0."""
        self._find_or_add_market(username, accounts, is_paper=is_paper)
        return self.markets[username]

    def register_company(self, consumer_key: str, callback: str, *, keys: UserKeys | None = None) -> UserKeys:
        """Register a company's program, which asks users on IBKR's page; return its keys."""
        keys = keys or usual_keys()
        uploaded = UploadedKeys.read(keys.signature_public_pem, keys.encryption_public_pem, keys.dhparam_pem)
        self._find_or_add_consumer(consumer_key.upper(), uploaded).callback = callback
        return keys

    def paper_flags(self) -> dict[str, bool]:
        """All usernames, and whether each is a paper user."""
        return {username: not market.market.world.live for username, market in self.markets.items()}

    def open_session(self, username: str, now: float, ends_at: float) -> LiveSession:
        """Sign a username in at its market until a moment."""
        login, midnight = f"live-session-{secrets.token_hex(8)}", self._calendar.next_midnight(now, self._rules.region)
        self.markets[username].market.world.sessions.add_login(login, now, ends_at)
        return LiveSession(username, now, ends_at, login, midnight)

    def end_session(self, session: LiveSession, and_brokerage: bool) -> None:
        """End a sign-in before its time."""
        sessions = self.markets[session.username].market.world.sessions
        sessions.drop_login(session.login)
        if and_brokerage:
            sessions.lose_brokerage()

    def _add_token(
        self, username: str, consumer_key: str, uploaded: UploadedKeys, keys: UserKeys | None, *, is_paper: bool
    ) -> Registration:
        consumer = self._find_or_add_consumer(consumer_key.upper(), uploaded)
        token = self.registry.add_token(consumer, username, is_paper=is_paper)
        secret, market = token.encrypted_secret(), self.markets[username]
        return Registration(username, consumer.key, token.token, secret, keys, token=token, market=market)

    def _find_or_add_market(
        self, username: str, accounts: tuple[str, ...], *, is_paper: bool, beside: World | None = None
    ) -> None:
        if username in self.markets:
            return
        options = {"accounts": accounts, "live": not is_paper, **self._options}
        if beside is not None:
            options["world"] = _share_world(beside, self._calendar)
        market = UserMarket(clock=self._clock, **options)
        market.host_port = self._port
        self.markets[username] = market

    def _find_or_add_consumer(self, key: str, uploaded: UploadedKeys) -> Consumer:
        consumer = self.registry.consumers.setdefault(key, Consumer(key, uploaded))
        if consumer.keys != uploaded:
            raise ValueError(f"{key} is registered with other keys")
        return consumer


def _share_world(world: World, calendar: Calendar) -> World:
    """The same accounts and orders, seen from another road; the brokerage session is on one road at a time."""
    sessions = Sessions(calendar, world.sessions.reopen_delay_s, world.sessions.establish_delay_s)
    sessions.share_username_with(world.sessions)
    return replace(world, sessions=sessions)
