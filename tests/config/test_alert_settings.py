"""The settings of the alerts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge.config.alert_settings import ALERTS, LEAST, PING, QUIET, AlertSettings, QuietHours

SECRET = "secret-token-of-a-service"  # of nobody


def read(**env: str) -> tuple[AlertSettings, list[str]]:
    """The settings of an environment, and its problems as text."""
    settings, problems = AlertSettings.from_env(env)
    return settings, [str(each) for each in problems]


def test_without_settings_nothing_is_sent() -> None:
    """And nothing is wrong."""
    settings, problems = read()

    assert (settings.addresses, settings.quiet, settings.ping, settings.least, problems) == (
        (),
        None,
        None,
        "notice",
        [],
    )


@pytest.mark.parametrize(
    "text", ["tgram://a/b,json://c", "tgram://a/b json://c", "tgram://a/b ,  json://c", " tgram://a/b\njson://c "]
)
def test_addresses_are_a_list(text: str) -> None:
    """Between commas or spaces."""
    assert read(**{ALERTS: text})[0].addresses == ("tgram://a/b", "json://c")


def test_an_address_may_contain_commas() -> None:
    """As those of several receivers."""
    assert read(**{ALERTS: "mailto://u:p@host?to=a@b,c@d json://e"})[0].addresses == (
        "mailto://u:p@host?to=a@b,c@d",
        "json://e",
    )


def test_addresses_may_be_in_a_file(tmp_path: Path) -> None:
    """One a line, with comments."""
    file = tmp_path / "alerts"
    file.write_text("# mine\ntgram://a/b\n\njson://c\n")
    file.chmod(0o600)

    assert read(**{ALERTS: str(file)}) == (AlertSettings(("tgram://a/b", "json://c"), None, None, "notice"), [])


def test_a_file_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    """They could send the alerts elsewhere."""
    file = tmp_path / "alerts"
    file.write_text("json://c\n")
    file.chmod(0o666)

    settings, problems = read(**{ALERTS: str(file)})

    assert settings.addresses == ()
    assert problems[0].startswith(f"{ALERTS}: the file ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ALERTS, f"json://good {SECRET}"),
        (ALERTS, f"/nowhere/{SECRET}"),
        (PING, f"ftp://{SECRET}"),
        (PING, f"https://[{SECRET}"),
        (QUIET, "22:00"),
        (QUIET, "22:00-22:00"),
        (QUIET, "22:00-07:00 Nowhere/City"),
        (LEAST, "loud"),
    ],
)
def test_a_problem_names_the_setting_and_no_secret(name: str, text: str) -> None:
    """Every problem has a hint."""
    _, problems = read(**{name: text})

    assert problems
    assert all(each.startswith(f"{name}: ") for each in problems)
    assert SECRET not in "".join(problems)


def test_the_settings_show_no_address() -> None:
    """In a traceback, for example."""
    settings, _ = read(**{ALERTS: f"json://{SECRET}", PING: f"https://{SECRET}"})

    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        ("22:00-07:00 UTC", "2026-06-17T23:00", "2026-06-18T07:00"),
        ("22:00-07:00 UTC", "2026-06-18T06:59", "2026-06-18T07:00"),
        ("22:00-07:00 UTC", "2026-06-18T07:00", None),
        ("22:00-07:00 UTC", "2026-06-17T21:59", None),
        ("12:00-13:00 UTC", "2026-06-17T12:30", "2026-06-17T13:00"),
        ("22:00-07:00 Europe/Berlin", "2026-06-17T20:00", "2026-06-18T05:00"),
    ],
)
def test_quiet_hours_may_cross_midnight(hours: str, now: str, end: str | None) -> None:
    """In the zone that they name."""
    found = QuietHours.parse(hours).end_after(datetime.fromisoformat(now).replace(tzinfo=UTC))

    assert (found and found.astimezone(UTC)) == (end and datetime.fromisoformat(end).replace(tzinfo=UTC))


@pytest.mark.parametrize(("least", "told"), [("critical", 1), ("warning", 2), ("notice", 3)])
def test_the_least_severity(least: str, told: int) -> None:
    """And everything above it."""
    settings, _ = read(**{LEAST: least})

    assert sum(map(settings.tells, ("critical", "warning", "notice"))) == told
