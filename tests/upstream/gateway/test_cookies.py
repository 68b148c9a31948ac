"""The cookies the Gateway sets: one private jar, kept over restarts, never shown."""

# a jar wants a running loop, and its files are a few bytes

from __future__ import annotations

import asyncio
import json
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
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
    """Where the cookies are kept."""
    return tmp_path / "main.cookies.json"


def new_jar(path: Path | None, bus: Bus | None = None, redactor: Redactor | None = None) -> CookieStore:
    """A jar; needs a running loop."""
    return CookieStore(path, bus or Bus(), redactor or Redactor(), ManualClock())


def set_cookie(cookies: CookieStore, value: str, name: str = "x-sess-uuid") -> None:
    """What the HTTP client does when an answer sets a cookie."""
    cookies.cookies.update_cookies({name: value}, GATEWAY)


def sent(cookies: CookieStore, url: URL = GATEWAY) -> dict[str, str]:
    """The cookies a call to there carries."""
    return {name: morsel.value for name, morsel in cookies.cookies.filter_cookies(url).items()}


async def test_the_gateways_cookies_go_back_to_an_address_without_a_name(path: Path) -> None:
    """127.0.0.1 is where the Gateway is; most jars refuse cookies of addresses."""
    cookies = new_jar(path)

    set_cookie(cookies, "0.abc=/+def==")

    assert sent(cookies) == {"x-sess-uuid": "0.abc=/+def=="}
    assert sent(cookies, URL("https://127.0.0.2:5000/")) == {}


async def test_a_cookie_for_a_foreign_domain_is_ignored(path: Path) -> None:
    """The Gateway passes on what IBKR's edge sets for itself."""
    cookies = new_jar(path)

    cookies.cookies.update_cookies_from_headers(["a=1; Domain=ibkr.com", "b=2; Domain=example.org"], GATEWAY)

    assert sent(cookies) == sent(cookies, URL("https://ibkr.com/")) == {}


async def test_cookies_outlive_a_restart_readable_by_us_alone(path: Path) -> None:
    """The session at IBKR hangs on them, and whoever has them has it."""
    cookies = new_jar(path)
    set_cookie(cookies, "secret-session-value")
    cookies.save()

    redactor = Redactor()
    again = new_jar(path, redactor=redactor)
    again.load()

    assert sent(again) == {"x-sess-uuid": "secret-session-value"}
    assert redactor.contains_secret("secret-session-value")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


async def test_a_file_left_open_to_all_is_closed_by_the_next_save(path: Path) -> None:
    """However the file came there."""
    path.write_text("{}")
    path.chmod(0o644)
    path.with_suffix(".draft").write_text("left by a crash")
    cookies = new_jar(path)
    cookies.load()
    set_cookie(cookies, "secret-session-value")

    cookies.save()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_cookies_that_were_taken_back_do_not_return_after_a_restart(path: Path) -> None:
    """After a log-out the old ones would speak for a session that is gone."""
    first = new_jar(path)
    set_cookie(first, "secret-session-value")
    first.save()
    second = new_jar(path)
    second.load()

    second.cookies.clear()
    second.save()

    third = new_jar(path)
    third.load()
    assert sent(third) == {}


async def test_nothing_is_written_while_nothing_changes(path: Path) -> None:
    """IBKR sets the same cookie with nearly every answer."""
    cookies = new_jar(path)
    set_cookie(cookies, "the-same-value")
    cookies.save()
    path.unlink()

    set_cookie(cookies, "the-same-value")
    cookies.save()

    assert not path.exists()


async def test_without_a_state_directory_the_jar_works_in_memory() -> None:
    """It is only forgotten at the end."""
    cookies = new_jar(None)
    cookies.load()

    set_cookie(cookies, "secret-session-value")
    cookies.save()

    assert sent(cookies) == {"x-sess-uuid": "secret-session-value"}


async def test_no_cookie_stands_in_the_repr(path: Path) -> None:
    """Jars end up in tracebacks."""
    cookies = new_jar(path)
    set_cookie(cookies, "secret-session-value")

    assert repr(cookies) == "<CookieStore 1 cookies>"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe", b"null", b"[]", b"1", b'"x"', b'{"x":1}', b'{"nobar":{"a":{}}}', b'{"h|/":{"a":{}}}'),
        *(b'{"h|/":{"a":{"key":1,"value":2,"coded_value":3}}}', b'{"h|/":[1]}', b"\x80\x04K\x01.", b"[" * 100_000),
    ],
)
async def test_a_file_that_cannot_be_read_is_set_aside_and_told(
    content: bytes, path: Path, bus: Bus, events_seen: list[Event]
) -> None:
    """The session lives in the Gateway: a broken file of ours is no reason not to start."""
    path.write_bytes(content)
    cookies = new_jar(path, bus)

    cookies.load()

    aside = path.with_suffix(".unreadable")
    assert events_seen == [CookiesSetAside(str(aside))]
    assert aside.read_bytes() == content
    assert not path.exists()


@settings(deadline=None)
@given(st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())))
@example(b'{"127.0.0.1|/": {"a b": {"key": "a b", "value": "x", "coded_value": "x", "expires_timestamp": 1e999}}}')
def test_no_file_crashes_the_start(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever it holds, the bridge starts, and its jar can be asked, saved and loaded again."""
    path = tmp_path_factory.getbasetemp() / "any.cookies.json"
    path.write_bytes(content)

    async def story() -> None:
        cookies = new_jar(path)
        cookies.load()
        sent(cookies)
        cookies.save()

    asyncio.run(story())


async def test_a_place_that_cannot_be_written_is_told_once(tmp_path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """One line in the log, not one a second."""
    (tmp_path / "state").write_text("a file stands here")
    cookies = new_jar(tmp_path / "state" / "cookies.json", bus)

    for value in ("first-value", "second-value"):
        set_cookie(cookies, value)
        cookies.save()

    (trouble,) = events_seen
    assert isinstance(trouble, StateUnavailable)
    assert "value" not in trouble.hint + trouble.error


async def test_a_cookie_is_a_secret_from_the_moment_it_is_set(path: Path) -> None:
    """The log line of the very call that brought it must not show it."""
    redactor = Redactor()
    cookies = new_jar(path, redactor=redactor)

    cookies.update(["x-sess-uuid=secret-session-value"], GATEWAY)

    assert redactor.contains_secret("secret-session-value")


async def test_what_changed_is_saved_soon_but_not_more_often_than_once_a_second(path: Path) -> None:
    """A crash loses a second of cookies, and the disk is left in peace."""
    clock = ManualClock()
    cookies = CookieStore(path, Bus(), Redactor(), clock)
    keeping = asyncio.create_task(cookies.run_loop())
    cookies.update(["a=first-value"], GATEWAY)
    await clock.asleep(1)
    first = path.read_text()

    cookies.update(["a=second-value"], GATEWAY)
    meanwhile = path.read_text()
    clock.advance(SAVE_INTERVAL_S)
    for _ in range(10):  # until the loop has gone round
        await asyncio.sleep(0)

    assert "first-value" in first
    assert meanwhile == first
    assert "second-value" in path.read_text()
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


async def test_an_answer_without_cookies_costs_no_save(path: Path) -> None:
    """Most answers set none."""
    clock = ManualClock()
    cookies = CookieStore(path, Bus(), Redactor(), clock)
    keeping = asyncio.create_task(cookies.run_loop())
    set_cookie(cookies, "some-value")

    cookies.update((), GATEWAY)
    for _ in range(10):  # until the loop has gone round
        await asyncio.sleep(0)

    assert not path.exists()
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
