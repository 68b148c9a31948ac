"""The cookies that the Gateway sets: private to one profile, kept over restarts, never shown."""

# The tests are coroutines, since aiohttp's cookie jar needs a running loop; the files hold a few bytes each.

from __future__ import annotations

import asyncio
import json
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from ibkr_bridge.events import Bus, CookiesSetAside, Event, StateUnavailable
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.upstream.gateway.cookies import SAVE_INTERVAL_S, CookieStore
from tests.clocks import ManualClock

GATEWAY = URL("https://127.0.0.1:5000/v1/api/tickle")
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["127.0.0.1|/", "|", "x", "key", "value", "coded_value", "expires"]), inner),
    ),
    max_leaves=12,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the cookies."""
    return tmp_path / "main.cookies.json"


def new_store(path: Path | None, bus: Bus | None = None, redactor: Redactor | None = None) -> CookieStore:
    """A cookie store; it needs a running loop."""
    return CookieStore(path, bus or Bus(), redactor or Redactor(), ManualClock())


def set_cookie(cookies: CookieStore, value: str, name: str = "x-sess-uuid") -> None:
    """Set a cookie, as the HTTP client does when a response sets one."""
    cookies.cookies.update_cookies({name: value}, GATEWAY)


def cookies_for(cookies: CookieStore, url: URL = GATEWAY) -> dict[str, str]:
    """The cookies that a call to this address carries."""
    return {name: morsel.value for name, morsel in cookies.cookies.filter_cookies(url).items()}


async def test_a_cookie_of_an_ip_address_is_sent_back_to_it(path: Path) -> None:
    """The Gateway listens on 127.0.0.1, and most cookie jars refuse cookies of IP addresses."""
    cookies = new_store(path)

    set_cookie(cookies, "0.abc=/+def==")

    assert cookies_for(cookies) == {"x-sess-uuid": "0.abc=/+def=="}
    assert cookies_for(cookies, URL("https://127.0.0.2:5000/")) == {}


async def test_a_cookie_for_another_domain_is_ignored(path: Path) -> None:
    """The Gateway passes on the cookies that IBKR's edge sets for its own domain."""
    cookies = new_store(path)

    cookies.cookies.update_cookies_from_headers(["a=1; Domain=ibkr.com", "b=2; Domain=example.org"], GATEWAY)

    assert cookies_for(cookies) == cookies_for(cookies, URL("https://ibkr.com/")) == {}


async def test_cookies_survive_a_restart_in_a_private_file(path: Path) -> None:
    """IBKR's session depends on the cookies, and they are enough to use it."""
    cookies = new_store(path)
    set_cookie(cookies, "secret-session-value")
    cookies.save()

    redactor = Redactor()
    restarted = new_store(path, redactor=redactor)
    restarted.load()

    assert cookies_for(restarted) == {"x-sess-uuid": "secret-session-value"}
    assert redactor.contains_secret("secret-session-value")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


async def test_a_save_makes_a_readable_file_private(path: Path) -> None:
    """It does not matter who left the file readable for others."""
    path.write_text("{}")
    path.chmod(0o644)
    path.with_suffix(".draft").write_text("left by a crash")
    cookies = new_store(path)
    cookies.load()
    set_cookie(cookies, "secret-session-value")

    cookies.save()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_deleted_cookies_do_not_return_after_a_restart(path: Path) -> None:
    """After a log-out, the old cookies would belong to a session that has ended."""
    first = new_store(path)
    set_cookie(first, "secret-session-value")
    first.save()
    second = new_store(path)
    second.load()

    second.cookies.clear()
    second.save()

    third = new_store(path)
    third.load()
    assert cookies_for(third) == {}


async def test_unchanged_cookies_are_not_saved(path: Path) -> None:
    """IBKR sets the same cookie with nearly every response."""
    cookies = new_store(path)
    set_cookie(cookies, "the-same-value")
    cookies.save()
    path.unlink()

    set_cookie(cookies, "the-same-value")
    cookies.save()

    assert not path.exists()


async def test_without_a_state_directory_cookies_stay_in_memory() -> None:
    """They are lost only when the bridge stops."""
    cookies = new_store(None)
    cookies.load()

    set_cookie(cookies, "secret-session-value")
    cookies.save()

    assert cookies_for(cookies) == {"x-sess-uuid": "secret-session-value"}


async def test_the_repr_shows_no_cookie(path: Path) -> None:
    """Tracebacks contain the reprs of such objects."""
    cookies = new_store(path)
    set_cookie(cookies, "secret-session-value")

    assert repr(cookies) == "<CookieStore 1 cookies>"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe", b"null", b"[]", b"1", b'"x"', b'{"x":1}', b'{"nobar":{"a":{}}}', b'{"h|/":{"a":{}}}'),
        *(b'{"h|/":{"a":{"key":1,"value":2,"coded_value":3}}}', b'{"h|/":[1]}', b"\x80\x04K\x01.", b"[" * 100_000),
    ],
)
async def test_an_unreadable_file_is_set_aside_and_reported(
    content: bytes, path: Path, bus: Bus, events_seen: list[Event]
) -> None:
    """The session is in the Gateway, so a broken file of the bridge must not stop its start."""
    path.write_bytes(content)
    cookies = new_store(path, bus)

    cookies.load()

    aside_path = path.with_suffix(".unreadable")
    assert events_seen == [CookiesSetAside(str(aside_path))]
    assert aside_path.read_bytes() == content
    assert not path.exists()


@given(st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())))
@example(b'{"127.0.0.1|/": {"a b": {"key": "a b", "value": "x", "coded_value": "x", "expires_timestamp": 1e999}}}')
def test_no_file_prevents_the_start(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever the file holds, the bridge starts, and the cookies can be read, saved and loaded again."""
    path = tmp_path_factory.getbasetemp() / "any.cookies.json"
    path.write_bytes(content)

    async def load_and_save() -> None:
        cookies = new_store(path)
        cookies.load()
        cookies_for(cookies)
        cookies.save()

    asyncio.run(load_and_save())


async def test_an_unwritable_directory_is_reported_once(tmp_path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """The log gets one line, not one a second."""
    (tmp_path / "state").write_text("a file stands here")
    cookies = new_store(tmp_path / "state" / "cookies.json", bus)

    for value in ("first-value", "second-value"):
        set_cookie(cookies, value)
        cookies.save()

    (event,) = events_seen
    assert isinstance(event, StateUnavailable)
    assert "value" not in event.hint + event.error


async def test_a_cookie_is_redacted_as_soon_as_it_is_set(path: Path) -> None:
    """The log line of the call that brought it must not show it."""
    redactor = Redactor()
    cookies = new_store(path, redactor=redactor)

    cookies.update(["x-sess-uuid=secret-session-value"], GATEWAY)

    assert redactor.contains_secret("secret-session-value")


async def test_a_change_is_saved_within_a_second_but_not_more_often(path: Path) -> None:
    """A crash loses the cookies of one second at most, and the disk is written once a second at most."""
    clock = ManualClock()
    cookies = CookieStore(path, Bus(), Redactor(), clock)
    save_loop = asyncio.create_task(cookies.run_loop())
    cookies.update(["a=first-value"], GATEWAY)
    await clock.wait_for_sleepers(1)
    first_content = path.read_text()

    cookies.update(["a=second-value"], GATEWAY)
    content_before_interval = path.read_text()
    clock.advance(SAVE_INTERVAL_S)
    for _ in range(10):  # until the loop has made a round
        await asyncio.sleep(0)

    assert "first-value" in first_content
    assert content_before_interval == first_content
    assert "second-value" in path.read_text()
    save_loop.cancel()
    with suppress(asyncio.CancelledError):
        await save_loop


async def test_a_response_without_cookies_causes_no_save(path: Path) -> None:
    """Most responses set none."""
    clock = ManualClock()
    cookies = CookieStore(path, Bus(), Redactor(), clock)
    save_loop = asyncio.create_task(cookies.run_loop())
    set_cookie(cookies, "some-value")

    cookies.update((), GATEWAY)
    for _ in range(10):  # until the loop has made a round
        await asyncio.sleep(0)

    assert not path.exists()
    save_loop.cancel()
    with suppress(asyncio.CancelledError):
        await save_loop
