"""The metrics, judged by the parser of prometheus-client."""

from __future__ import annotations

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from ibkr_bridge.conditions.condition import KINDS
from ibkr_bridge.observe.metrics import CONTENT_TYPE, PREFIX, STATES
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import KEY, Harness, Placement


async def read_samples(harness: Harness) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, by name and labels."""
    reply = await harness.get("/metrics")
    assert reply.status == 200
    families = text_string_to_metric_families(reply.body.decode())
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def of_main(**labels: str) -> tuple[tuple[str, str], ...]:
    """The labels of the default profile."""
    return tuple(sorted({"profile": "main", **labels}.items()))


async def test_the_session_and_the_slots_are_shown(harness: Harness) -> None:
    """And the figures of the process."""
    samples = await read_samples(harness)

    assert samples["session_ready", of_main()] == 1.0
    assert [samples["session_state", of_main(state=each)] for each in STATES] == [0.0] * 9 + [1.0]
    assert (samples["gateway_slots", of_main()], samples["gateway_slots_taken", of_main()]) == (4.0, 0.0)
    assert samples["process_resident_memory_bytes", ()] > 0


def test_every_state_of_the_session_is_a_label() -> None:
    """A state without a line would be a gap in the graph."""
    assert set(STATES) == {state.value for state in SessionState}


async def test_requests_orders_and_durations_are_counted(harness: Harness) -> None:
    """The route is a pattern, so no account number is in a label."""
    placement = Placement()
    await harness.post(placement.target, placement.body)
    await harness.get("/accounts/DU1234567")
    await harness.get("/portfolio/nobody/summary", key="wrong")

    text = (await harness.get("/metrics")).body.decode()
    samples = await read_samples(harness)

    assert samples["requests_total", of_main(method="GET", route="/accounts/{id}", status="200")] == 1.0
    assert samples["order_events_total", of_main(event="order.placed")] == 1.0
    assert samples["orders", of_main(state="placed")] == 1.0
    assert samples["errors_total", (("code", "invalid_key"), ("profile", ""))] == 1.0
    assert samples["request_duration_seconds_count", of_main(source="bridge")] >= 1.0
    assert "DU1234567" not in text
    assert KEY not in text


async def test_every_condition_has_a_line_and_is_1_while_it_holds(harness: Harness, sim: Simulator) -> None:
    """An alert rule for one that never occurred has data."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    samples = await read_samples(harness)

    severities = {kind.id: kind.severity.value for kind in KINDS.values()}
    values = {each: samples["condition", of_main(condition=each, severity=severities[each])] for each in KINDS}
    assert {each for each, value in values.items() if value and each != "login_ends"} == {"signed_out"}
    assert samples["session_losses_total", of_main()] == 1.0


async def test_metrics_need_a_key_and_are_sent_with_their_type(harness: Harness) -> None:
    """Prometheus chooses its parser by the type."""
    reply = await harness.get("/metrics")

    assert reply.headers["Content-Type"] == CONTENT_TYPE == CONTENT_TYPE_LATEST
    assert (await harness.get("/metrics", key=None)).status == 401
