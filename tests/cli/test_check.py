"""`bridge.py check`: the settings as the service would read them."""

from __future__ import annotations

import json

from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, KEY, Place


def test_good_settings_are_shown_with_their_guards(place: Place) -> None:
    """No key and no account number is printed."""
    place.write_dotenv(
        f"IBKR_BRIDGE_KEY={KEY}\nIBKR_MAX_ORDER_VALUE=5000\nIBKR_ALLOWED_ACCOUNTS=DU1234567\nIBKR_READ_ONLY=yes\n"
    )

    words, data = place.both("check")

    assert (words.returncode, data.returncode) == (EXIT_OK, EXIT_OK)
    assert words.stdout.startswith("The settings can be used.\n")
    assert "at most 5000 in the base currency of the account in one order" in words.stdout
    assert "paper, and no orders at all" in words.stdout
    assert "DU*****67" in words.stdout
    assert KEY not in words.stdout + data.stdout
    assert "DU1234567" not in words.stdout + data.stdout
    assert json.loads(data.stdout)["problems"] == []


def test_problems_end_with_78(place: Place) -> None:
    """All of them, as the service would write them into its log."""
    place.write_dotenv("IBKR_BRIDGE_KEY=short\nIBKR_TRADING_MODE=real\n")

    words, data = place.both("check")

    assert (words.returncode, data.returncode) == (EXIT_MISCONFIGURED, EXIT_MISCONFIGURED)
    assert "IBKR_BRIDGE_KEY" in words.stderr
    assert [each["setting"] for each in json.loads(data.stdout)["problems"]] == ["IBKR_BRIDGE_KEY", "IBKR_TRADING_MODE"]


def test_a_file_that_does_not_exist_is_named(place: Place) -> None:
    """Without it the settings of the environment would be checked, and a misspelt name would look well."""
    result = place.run("check", "nxet.env", IBKR_BRIDGE_KEY=KEY)

    assert result.returncode == EXIT_FAILURE
    assert "there is no file nxet.env" in result.stderr


def test_another_file_may_be_named(place: Place) -> None:
    """Before it takes the place of the one in use."""
    other = place.home / "next.env"
    other.write_text(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_TRADING_MODE=live\n")
    other.chmod(0o600)

    result = place.run("check", str(other))

    assert "mode        live" in result.stdout


def test_the_key_of_the_demo_is_refused(place: Place) -> None:
    """As the service refuses it."""
    place.write_dotenv("IBKR_BRIDGE_KEY=demo-key-not-secret-0123456789abcdef\n")

    assert place.run("check").returncode == EXIT_MISCONFIGURED


def test_a_relative_path_is_where_the_person_is(place: Place) -> None:
    """The installed command runs in another directory, and passes that of the person."""
    elsewhere = place.home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.env").write_text(f"IBKR_BRIDGE_KEY={KEY}\n")
    (elsewhere / "mine.env").chmod(0o600)

    assert place.run("check", "mine.env", CALLED_FROM=str(elsewhere)).returncode == EXIT_OK
    assert place.run("check", str(elsewhere / "mine.env"), CALLED_FROM="/nowhere").returncode == EXIT_OK
