"""The pages on which a user gives access."""

from __future__ import annotations

import pytest

from ibkr_bridge.config.settings import Address
from ibkr_bridge.oauth.ibkr_pages import UPLOAD_PAGE, authorize_page, upload_page

REQUEST_TOKEN = "25ebcc75204da80b73f4"
IBKR = Address("https", "api.ibkr.com", 443)


def test_the_user_is_sent_to_ibkrs_pages() -> None:
    """Nobody but IBKR sees his password."""
    authorize = f"https://interactivebrokers.com/authorize?oauth_token={REQUEST_TOKEN}"

    assert (upload_page(IBKR), authorize_page(IBKR, REQUEST_TOKEN)) == (UPLOAD_PAGE, authorize)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_simulator_has_its_own_pages(host: str) -> None:
    """IBKR knows nothing of its tokens."""
    api = Address("http", host, 5100)

    assert upload_page(api) == f"http://{host}:5100/self-service"
    assert authorize_page(api, "a&b") == f"http://{host}:5100/authorize?oauth_token=a%26b"
