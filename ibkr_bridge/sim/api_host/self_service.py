"""The page on which a user uploads public keys and gets an access token, as IBKR's self-service page does.

A program can send the form as well: the answer to a registration is JSON. A username that is new gets a market.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from ibkr_bridge.sim.api_host.users import Users
from ibkr_bridge.sim.market.dispatch import MarketResponse, ok_response
from ibkr_bridge.sim.request_log import LoggedRequest

HTML = "text/html;charset=utf-8"
PAGE = b"""<!doctype html><html><body><h1>Simulated self-service</h1>
<form method="post" action="/self-service">
<p><label>Username <input name="username"></label>
<label>Consumer key, nine letters <input name="consumer_key"></label>
<select name="mode"><option>paper</option><option>live</option></select></p>
<p><label>public_signature.pem<br><textarea name="signature" rows="4" cols="70"></textarea></label></p>
<p><label>public_encryption.pem<br><textarea name="encryption" rows="4" cols="70"></textarea></label></p>
<p><label>dhparam.pem<br><textarea name="dhparam" rows="4" cols="70"></textarea></label></p>
<p><button>Generate token</button></p>
</form></body></html>
"""
CONSUMER_KEY = re.compile(r"[A-Za-z]{9}")
USERNAME = re.compile(r"[\w.-]{1,40}")


class SelfService:
    """The page of one host."""

    def __init__(self, users: Users) -> None:
        self._users = users

    def show_page(self, logged: LoggedRequest, address: str) -> MarketResponse:
        """The form."""
        return MarketResponse(200, PAGE, HTML)

    def take_form(self, logged: LoggedRequest, address: str) -> MarketResponse:
        """Register what was sent, and show the access token and its secret."""
        form = dict(parse_qsl(logged.body.decode("utf-8", "replace")))
        username, consumer_key = form.get("username", ""), form.get("consumer_key", "")
        if not USERNAME.fullmatch(username) or not CONSUMER_KEY.fullmatch(consumer_key):
            return _refuse("a username and a consumer key of nine letters are needed")
        files = (form.get(name, "") for name in ("signature", "encryption", "dhparam"))
        try:
            user = self._users.register_files(username, consumer_key, *files, is_paper=form.get("mode") != "live")
        except ValueError as problem:
            return _refuse(str(problem))
        tokens = {"consumer_key": user.consumer_key, "access_token": user.access_token}
        return ok_response({**tokens, "access_token_secret": user.access_token_secret})


def _refuse(reason: str) -> MarketResponse:
    return ok_response({"error": f"failed to put consumer info: {reason}"}, 400)
