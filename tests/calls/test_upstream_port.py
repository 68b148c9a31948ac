"""What every upstream runs between "connected" and "first byte", and the traits of a kind of upstream."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.upstream_port import BeforeSending, UpstreamTraits
from ibkr_bridge.errors import GatewayUnreachable, TradingPaused
from ibkr_bridge.ibkr.catalogue import endpoint_of


class Steps:
    """Records the steps that run; a step that is named in `errors` raises."""

    def __init__(self, **errors: Exception) -> None:
        self.names: list[str] = []
        self._errors = errors

    def _run_step(self, name: str) -> None:
        self.names.append(name)
        if name in self._errors:
            raise self._errors[name]

    def first(self) -> None:
        """A precondition."""
        self._run_step("first")

    def second(self) -> None:
        """Another precondition."""
        self._run_step("second")

    async def write(self) -> None:
        """The write of the journal entry, which is awaited."""
        self._run_step("write")

    def connection(self) -> None:
        """The check that the connection is still open."""
        self._run_step("connection")

    def sent(self) -> None:
        """The callback before the first byte."""
        self._run_step("sent")

    async def run(self, *, with_entry: bool = True) -> list[str]:
        """Run all steps. Returns their names."""
        entry = self.write if with_entry else None
        await BeforeSending((self.first, self.second), entry, self.sent).run(self.connection)
        return self.names


async def test_all_checks_run_again_after_the_entry_is_written() -> None:
    """The connection is checked too: it may have ended while the disk was written."""
    assert await Steps().run() == ["first", "second", "write", "first", "second", "connection", "sent"]


async def test_without_an_entry_each_check_runs_once() -> None:
    """The connection was opened in the same step of the loop."""
    assert await Steps().run(with_entry=False) == ["first", "second", "sent"]


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("first", ["first"]),
        ("second", ["first", "second"]),
        ("write", ["first", "second", "write"]),
        ("connection", ["first", "second", "write", "first", "second", "connection"]),
    ],
)
async def test_no_step_runs_after_one_that_raises(step: str, names: list[str]) -> None:
    """`on_sent` is never called for a call that is not sent."""
    steps = Steps(**{step: TradingPaused("paused")})

    with pytest.raises(TradingPaused):
        await steps.run()

    assert steps.names == names


async def test_a_check_that_fails_only_after_the_entry_stops_the_call() -> None:
    """Trading was paused while the disk was written."""
    steps, is_paused = Steps(), False

    def check() -> None:
        if is_paused:
            raise TradingPaused("paused")

    async def write() -> None:
        nonlocal is_paused
        is_paused = True

    with pytest.raises(TradingPaused):
        await BeforeSending((check,), write, steps.sent).run(steps.connection)

    assert steps.names == []


async def test_a_connection_that_ended_meanwhile_is_an_error() -> None:
    """Nothing was sent on it."""
    with pytest.raises(GatewayUnreachable):
        await Steps(connection=GatewayUnreachable("it ended")).run()


def test_an_upstream_lacks_exactly_the_paths_in_its_traits() -> None:
    """All methods of such a path are missing."""
    traits = UpstreamTraits("x", None, 0, None, {}, missing={"/iserver/reauthenticate": "no such thing"})

    assert not traits.has(endpoint_of("POST", "/iserver/reauthenticate"))
    assert traits.has(endpoint_of("GET", "/iserver/accounts"))


def test_the_limit_of_an_endpoint_comes_from_the_catalogue() -> None:
    """An upstream with its own limits overrides this in its own class."""
    endpoint = endpoint_of("GET", "/portfolio/accounts")

    assert UpstreamTraits("x", None, 0, None, {}).limit(endpoint) is endpoint.rate_limit
