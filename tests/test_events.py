"""The bus and the subscribers of a change: one that raises is reported, and the others are called."""

from __future__ import annotations

from ibkr_bridge.events import Bus, Event, ListenerFailed, PauseCleared, Subscribers

SECRET = "key-that-must-not-be-shown"


def fail(_: object) -> None:
    """A listener with a bug; the message of its error contains a secret."""
    raise KeyError(SECRET)


class Failing:
    """A listener that is an object and not a function."""

    def __call__(self, _: object) -> None:
        raise KeyError(SECRET)


def test_events_reach_every_listener_in_the_order_of_their_subscription() -> None:
    """The listeners get the event object that was published."""
    bus, calls = Bus(), list[tuple[str, Event]]()
    bus.subscribe(lambda event: calls.append(("first", event)))
    bus.subscribe(lambda event: calls.append(("second", event)))
    event = PauseCleared("somebody")

    bus.publish(event)

    assert calls == [("first", event), ("second", event)]


def test_a_listener_of_the_bus_that_raises_is_reported_and_the_others_are_called() -> None:
    """The code that publishes continues: an order must not fail because a log line could not be written."""
    bus, reported = Bus(), list[Event]()
    bus.subscribe(fail)
    bus.subscribe(reported.append)

    bus.publish(PauseCleared("somebody"))

    failed, event = reported
    assert isinstance(failed, ListenerFailed)
    assert (failed.event, failed.change, failed.listener, failed.error) == (
        "bridge.listener_failed",
        "bus",
        "fail",
        "KeyError",
    )
    assert isinstance(event, PauseCleared)


def test_a_listener_that_raises_at_its_own_report_is_not_reported_for_ever() -> None:
    """The report is an event too, and would call the same listener again."""
    bus = Bus()
    bus.subscribe(fail)

    bus.publish(PauseCleared("somebody"))


def test_a_subscriber_that_raises_is_reported_and_the_others_are_called() -> None:
    """A change that controls the program must reach all subscribers, in their order."""
    bus, reported, called = Bus(), list[Event](), list[tuple[str, bool]]()
    bus.subscribe(reported.append)
    subscribers: Subscribers[bool] = Subscribers("session", bus)
    subscribers.subscribe(lambda value: called.append(("first", value)))
    subscribers.subscribe(Failing())
    subscribers.subscribe(lambda value: called.append(("last", value)))

    subscribers.notify(True)

    assert called == [("first", True), ("last", True)]
    (failed,) = reported
    assert isinstance(failed, ListenerFailed)
    assert (failed.change, failed.listener) == ("session", "Failing")


def test_a_report_contains_places_and_never_the_message_of_an_error() -> None:
    """The message of an exception often repeats the parsed text, which may contain a secret."""
    bus, reported = Bus(), list[Event]()
    bus.subscribe(reported.append)
    subscribers: Subscribers[int] = Subscribers("session", bus)
    subscribers.subscribe(fail)

    subscribers.notify(1)

    (failed,) = reported
    assert isinstance(failed, ListenerFailed)
    assert "test_events.py" in failed.places
    assert SECRET not in repr(failed)
