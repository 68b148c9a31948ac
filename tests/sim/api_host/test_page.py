"""Forms as browsers and programs send them."""

from __future__ import annotations

from ibkr_bridge.sim.api_host.page import is_for_person, page, read_form
from ibkr_bridge.sim.request_log import LoggedRequest

MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\ncarl\r\n'
    b'--b\r\nContent-Disposition: form-data; name="dhparam"; filename="d.pem"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n-----BEGIN\nA=\n\r\n--b--\r\n"
)


def request(body: bytes, **headers: str) -> LoggedRequest:
    return LoggedRequest("POST", "/self-service", tuple(headers.items()), body, 0.0)


def test_a_form_has_fields_and_files() -> None:
    sent = request(MULTIPART, **{"Content-Type": "multipart/form-data; boundary=b"})
    assert read_form(sent) == {"username": "carl", "dhparam": "-----BEGIN\nA=\n"}


def test_other_forms_are_read_as_well() -> None:
    assert read_form(request(b"a=1&b=%C3%A4&c=")) == {"a": "1", "b": "ä", "c": ""}
    assert read_form(request(b"--", **{"Content-Type": "multipart/form-data"})) == {}


def test_a_browser_is_told_from_a_program() -> None:
    assert is_for_person(request(b"", Accept="text/html,*/*"))
    assert not is_for_person(request(b"", Accept="*/*"))
    assert not is_for_person(request(b""))


def test_a_title_is_text() -> None:
    assert b"<h1>a &lt;b&gt;</h1>" in page("a <b>", "").body
