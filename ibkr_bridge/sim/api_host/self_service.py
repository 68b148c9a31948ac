"""The page on which a user uploads public keys and gets an access token, as IBKR's self-service page does.

A program can send the form as well: the answer to a registration is JSON then. A username that is new gets a market.
"""

from __future__ import annotations

import html
import re

from ibkr_bridge.sim.api_host.page import is_for_person, page, read_form
from ibkr_bridge.sim.api_host.registration import Registration
from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.api_host.users import Users
from ibkr_bridge.sim.market.dispatch import MarketResponse, ok_response
from ibkr_bridge.sim.request_log import LoggedRequest

TITLE = "Simulated self-service"
FORM = """<form method="post" action="/self-service" enctype="multipart/form-data">
<label>Username <input name="username" required></label>
<label>Consumer key, nine letters <input name="consumer_key" required pattern="[A-Za-z]{9}"></label>
<label>Account <select name="mode"><option>paper</option><option>live</option></select></label>
<label>Public signing key: public_signature.pem <input type="file" name="signature" required></label>
<label>Public encryption key: public_encryption.pem <input type="file" name="encryption" required></label>
<label>Diffie-Hellman parameters: dhparam.pem <input type="file" name="dhparam" required></label>
<button>Generate token</button></form>"""
CONSUMER_KEY = re.compile(r"[A-Za-z]{9}")
USERNAME = re.compile(r"[\w.-]{1,40}")


class SelfService:
    """The page of one host."""

    def __init__(self, users: Users, rules: Rules) -> None:
        self._users = users
        self._rules = rules

    def show_page(self, logged: LoggedRequest, address: str) -> MarketResponse:
        """The form."""
        return page(TITLE, FORM)

    def take_form(self, logged: LoggedRequest, address: str) -> MarketResponse:
        """Register what was sent, and show the access token and its secret."""
        try:
            user = self._register(read_form(logged))
        except ValueError as problem:
            return _refuse(logged, str(problem))
        if self._rules.activation_s:  # as any change on IBKR's page, this begins the time anew
            user.activate_at(logged.at + self._rules.activation_s)
        tokens = {
            "consumer_key": user.consumer_key,
            "access_token": user.access_token,
            "access_token_secret": user.access_token_secret,
        }
        return _show(tokens) if is_for_person(logged) else ok_response(tokens)

    def _register(self, form: dict[str, str]) -> Registration:
        username, consumer_key = form.get("username", ""), form.get("consumer_key", "")
        if not USERNAME.fullmatch(username) or not CONSUMER_KEY.fullmatch(consumer_key):
            raise ValueError("a username and a consumer key of nine letters are needed")
        files = (form.get(name, "") for name in ("signature", "encryption", "dhparam"))
        return self._users.register_files(username, consumer_key, *files, is_paper=form.get("mode") != "live")


def _show(tokens: dict[str, str]) -> MarketResponse:
    labels = ("Consumer key", "Access token", "Access token secret")
    rows = "".join(
        f'<dt>{label}</dt><dd id="{name}">{html.escape(value)}</dd>'
        for label, (name, value) in zip(labels, tokens.items(), strict=True)
    )
    return page("Your access token", f"<p>The secret is shown once: copy all three now.</p><dl>{rows}</dl>")


def _refuse(logged: LoggedRequest, reason: str) -> MarketResponse:
    if is_for_person(logged):
        return page(TITLE, f"<p>Nothing was saved: {html.escape(reason)}.</p>{FORM}", 400)
    return ok_response({"error": f"failed to put consumer info: {reason}"}, 400)
