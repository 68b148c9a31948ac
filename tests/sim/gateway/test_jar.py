"""The Gateway's one cookie jar."""

from __future__ import annotations

from ibkr_bridge.sim.gateway.jar import Jar


def test_names_not_on_the_list_are_not_stored() -> None:
    """`x-sess-uuid` is one of them."""
    jar = Jar()

    jar.store_from_ibkr(["x-sess-uuid=1; HttpOnly; secure", "api=2; Path=/"])

    assert jar.cookie_header("/v1/api/tickle") == "REGION=; USERID=; api=2"


def test_a_cookie_is_sent_if_the_path_contains_its_path() -> None:
    """The path need not begin with it; domain and Secure are ignored."""
    jar = Jar()

    jar.store_from_ibkr(["cp=1; Path=/api; Domain=.elsewhere.com; Secure"])

    assert "cp=1" in jar.cookie_header("/v1/api/x")
    assert "cp=1" not in jar.cookie_header("/sso/Login")


def test_ibkr_cannot_delete_a_cookie() -> None:
    """An empty value is ignored, and so are ages and dates."""
    jar = Jar()
    jar.store_from_ibkr(["api=1"])

    jar.store_from_ibkr(["api=; Max-Age=0", "api=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT"])

    assert jar.value("api") == "2"


def test_clients_can_set_only_two_names() -> None:
    """They are those of the login."""
    jar = Jar()

    jar.store_from_client("XYZAB=1; api=2; XYZAB_AM.LOGIN=3")

    assert (jar.value("XYZAB"), jar.value("api"), jar.value("XYZAB_AM.LOGIN")) == ("1", None, "3")
