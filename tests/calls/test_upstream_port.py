"""What every upstream runs between "connected" and "first byte", and what is fixed for a kind of upstream."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.upstream_port import BeforeSending, UpstreamTraits
from ibkr_bridge.errors import GatewayUnreachable, TradingPaused
from ibkr_bridge.ibkr.catalogue import endpoint_of


class Steps:
    """Notes what is run; a step that is named in `fails` raises."""

    def __init__(self, **fails: Exception) -> None:
        self.run: list[str] = []
        self._fails = fails

    def _do(self, name: str) -> None:
        self.run.append(name)
        if name in self._fails:
            raise self._fails[name]

    def first(self) -> None:
        """A precondition."""
        self._do("first")

    def second(self) -> None:
        """Another one."""
        self._do("second")

    async def write(self) -> None:
        """What is awaited."""
        self._do("write")

    def connection(self) -> None:
        """Whether the connection still stands."""
        self._do("connection")

    def sent(self) -> None:
        """The first byte leaves."""
        self._do("sent")

    async def go(self, *, with_entry: bool = True) -> list[str]:
        """Run all of it."""
        entry = self.write if with_entry else None
        await BeforeSending((self.first, self.second), entry, self.sent).run(self.connection)
        return self.run


async def test_everything_is_checked_again_after_the_entry() -> None:
    """The connection too: it can have ended while the disk was at work."""
    assert await Steps().go() == ["first", "second", "write", "first", "second", "connection", "sent"]


async def test_without_an_entry_nothing_takes_time_and_nothing_is_checked_twice() -> None:
    """The connection was made in this very step."""
    assert await Steps().go(with_entry=False) == ["first", "second", "sent"]


@pytest.mark.parametrize(
    ("step", "run"),
    [
        ("first", ["first"]),
        ("second", ["first", "second"]),
        ("write", ["first", "second", "write"]),
        ("connection", ["first", "second", "write", "first", "second", "connection"]),
    ],
)
async def test_the_first_step_that_raises_is_the_last(step: str, run: list[str]) -> None:
    """`on_sent` is never called for a call that does not leave."""
    steps = Steps(**{step: TradingPaused("paused")})

    with pytest.raises(TradingPaused):
        await steps.go()

    assert steps.run == run


async def test_a_check_that_fails_only_after_the_entry_stops_the_call() -> None:
    """Trading was paused while the disk was at work."""
    steps, paused = Steps(), False

    def check() -> None:
        if paused:
            raise TradingPaused("paused")

    async def write() -> None:
        nonlocal paused
        paused = True

    with pytest.raises(TradingPaused):
        await BeforeSending((check,), write, steps.sent).run(steps.connection)

    assert steps.run == []


async def test_a_connection_that_ended_meanwhile_is_told_as_such() -> None:
    """Nothing was sent on it."""
    with pytest.raises(GatewayUnreachable):
        await Steps(connection=GatewayUnreachable("it ended")).go()


def test_an_upstream_lacks_exactly_what_it_names() -> None:
    """Other methods of the same path are lacking with it."""
    traits = UpstreamTraits("x", None, 0, None, {}, missing={"/iserver/reauthenticate": "no such thing"})

    assert not traits.has(endpoint_of("POST", "/iserver/reauthenticate"))
    assert traits.has(endpoint_of("GET", "/iserver/accounts"))


def test_the_limit_of_an_endpoint_is_the_catalogues() -> None:
    """An upstream with limits of its own says so in its own class."""
    endpoint = endpoint_of("GET", "/portfolio/accounts")

    assert UpstreamTraits("x", None, 0, None, {}).limit(endpoint) is endpoint.rate_limit
