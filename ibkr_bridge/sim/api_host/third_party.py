"""Third-party authorization: a company's program sends a user to IBKR's page, and gets an access token for this user.

A request token is shown to the user's browser; the user agrees on the page; the browser brings a verifier back to the
company's callback; the program trades both for an access token. Each step works once.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from ibkr_bridge.sim.api_host.checks import Checks
from ibkr_bridge.sim.api_host.oauth_request import OAuthRequest, RefusedError
from ibkr_bridge.sim.api_host.page import page, read_form
from ibkr_bridge.sim.api_host.registry import Consumer, Registry, make_token
from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.market.dispatch import MarketResponse, read_query
from ibkr_bridge.sim.request_log import LoggedRequest

BAD_SIGNATURE = "Invalid signature"


@dataclass
class RequestToken:
    """One authorization that is under way."""

    token: str
    consumer: Consumer
    made_at: float
    username: str = ""
    verifier: str = ""
    """What the browser brings back; empty until the user has agreed."""
    verified_at: float = 0.0


class ThirdParty:
    """The three steps of third-party authorization at one host.

    Args:
        users: gives the usernames that may sign in on the page, and whether each is a paper user.
    """

    def __init__(self, registry: Registry, checks: Checks, rules: Rules, users: Callable[[], dict[str, bool]]) -> None:
        self._registry = registry
        self._checks = checks
        self._rules = rules
        self._users = users
        self._requests: dict[str, RequestToken] = {}

    def request_token(self, request: OAuthRequest, now: float) -> object:
        """Answer `/oauth/request_token`.

        Raises:
            RefusedError: the request is wrong, or comes from a user's own consumer.
        """
        consumer = self._check(request, now, "oauth_callback")
        if consumer.callback is None:
            raise RefusedError("request tokens are not for first party consumers")
        token = make_token()
        self._requests[token] = RequestToken(token, consumer, now)
        return {"oauth_token": token}

    def access_token(self, request: OAuthRequest, now: float) -> object:
        """Answer `/oauth/access_token`; whatever comes of it, the request token is used up.

        Raises:
            RefusedError: the request is wrong, or the verifier does not fit.
        """
        consumer = self._check(request, now, "oauth_token", "oauth_verifier")
        asked = self._requests.pop(request.parameters["oauth_token"], None)
        if asked is None or asked.consumer is not consumer or not asked.verifier:
            raise RefusedError("invalid request token")
        if (
            asked.verifier != request.parameters["oauth_verifier"]
            or now > asked.verified_at + self._rules.verifier_life_s
        ):
            raise RefusedError("invalid verifier")
        is_paper = self._users()[asked.username]
        token = self._registry.add_token(consumer, asked.username, is_paper=is_paper)
        return {"is_paper": is_paper, "oauth_token": token.token, "oauth_token_secret": token.encrypted_secret()}

    def show_page(self, logged: LoggedRequest, address: str) -> MarketResponse:
        """The page on which a user agrees or not; a simulated login needs no password."""
        query = read_query(logged.query)
        asked = self._find(query.get("oauth_token", ""), logged.at)
        if asked is None:
            return page("Unknown request token", "<p>Go back to the app, and begin again.</p>", 400)
        names = "".join(f"<option>{html.escape(name)}</option>" for name in sorted(self._users()))
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(query[name])}">'
            for name in ("oauth_token", "redirect_uri")
            if name in query
        )
        return page(
            "Simulated login",
            f"<p>{html.escape(asked.consumer.key)} wants to trade for you.</p>"
            f'<form method="post" action="/authorize">{hidden}'
            f'<label>Sign in as <select name="username">{names}</select></label>'
            '<button name="answer" value="yes">Agree</button><button name="answer" value="no">Cancel</button></form>',
        )

    def take_answer(self, logged: LoggedRequest, address: str) -> MarketResponse:
        """Take the page's form, and send the browser to the callback; after a no without any token."""
        form = read_form(logged)
        asked = self._find(form.get("oauth_token", ""), logged.at)
        if asked is None or form.get("username") not in self._users():
            return page("Unknown user or request token", "<p>Go back to the app, and begin again.</p>", 400)
        target = _callback(asked.consumer, form.get("redirect_uri", ""))
        if form.get("answer") == "yes":
            asked.username, asked.verifier, asked.verified_at = form["username"], make_token(), logged.at
            tokens = {"oauth_token": asked.token, "oauth_verifier": asked.verifier}
            target += ("&" if "?" in target else "?") + urlencode(tokens)
        else:
            del self._requests[asked.token]
        return MarketResponse(302, b"", "text/html", (("Location", target),))

    def _check(self, request: OAuthRequest, now: float, *needed: str) -> Consumer:
        consumer = self._checks.find_consumer(request, now)
        for name in needed:
            if not request.parameters.get(name):
                raise RefusedError(f"missing parameter {name}")
        self._checks.check_freshness(request, "RSA-SHA256", now)
        self._checks.check_rsa(request, consumer.keys.signature_key, "", BAD_SIGNATURE)
        return consumer

    def _find(self, token: str, now: float) -> RequestToken | None:
        """An authorization that waits for its user."""
        asked = self._requests.get(token)
        is_over = asked is None or asked.verifier or now > asked.made_at + self._rules.request_token_life_s
        return None if is_over else asked


def _callback(consumer: Consumer, redirect_uri: str) -> str:
    """The registered callback; an address that comes with the request replaces only its path."""
    callback = consumer.callback or ""
    if not redirect_uri:
        return callback
    host, wanted = urlsplit(callback), urlsplit(redirect_uri)
    return urlunsplit((host.scheme, host.netloc, wanted.path, wanted.query, ""))
