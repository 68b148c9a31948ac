"""All settings: their defaults, their problems, and that no message has a key."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibkr_bridge.config.env_reader import NEVER_BRIDGED, PLACEHOLDER
from ibkr_bridge.config.settings import (
    Compete,
    LogFormat,
    LogLevel,
    Mode,
    Region,
    RoadKind,
    Settings,
    SettingsError,
    load_settings,
    names_needing_restart,
    setting_fields,
    setting_names,
)
from ibkr_bridge.config.sources import PROJECT_ROOT, lines_systemd_reads_differently, read_dotenv
from ibkr_bridge.config.value_types import Problem
from tests.harness import KEY, PREVIOUS_KEY, READONLY_KEY

CANARY = "CaNaRy_Key_0123456789-abcdefGHIJKL-xyz"  # upper and lower case, so that a lower-cased text is found too
PIN = "ab" * 32

WRONG_VALUES = {  # in the order of `.env.example`
    "IBKR_BRIDGE_URL": "ftp://127.0.0.1",
    "IBKR_BRIDGE_KEY": "short",
    "IBKR_BRIDGE_KEY_PREVIOUS": "brief",
    "IBKR_BRIDGE_READONLY_KEY": "tiny",
    "IBKR_GATEWAY_URL": "nowhere",
    "IBKR_GATEWAY_FINGERPRINT": "zz",
    "IBKR_GATEWAY_CA_FILE": "/no/such/file",
    "IBKR_BRIDGE_ROAD": "motorway",
    "IBKR_BRIDGE_API_URL": "http://api.ibkr.com",
    "IBKR_BRIDGE_API_CA_FILE": "/no/such/file",
    "IBKR_BRIDGE_API_RATE": "51",
    "IBKR_BRIDGE_PORTFOLIO_ONLY": "perhaps",
    "IBKR_BRIDGE_LOCAL_ADDRESS": "here",
    "IBKR_TRADING_MODE": "pretend",
    "IBKR_READ_ONLY": "perhaps",
    "IBKR_ALLOW_PAID_SNAPSHOTS": "perhaps",
    "IBKR_ALLOWED_ACCOUNTS": "my account",
    "IBKR_MAX_ORDER_QUANTITY": "many",
    "IBKR_MAX_ORDER_VALUE": "much",
    "IBKR_COMPETE": "fight",
    "IBKR_BRIDGE_EXTRA_PREFIXES": "sso",
    "IBKR_BRIDGE_STATE_DIR": "here",
    "IBKR_BRIDGE_PROFILES": "here",
    "IBKR_BRIDGE_VAULT_KEYS": "here",
    "IBKR_BRIDGE_DATABASE_URL": "mysql://x",
    "IBKR_BRIDGE_MAX_WAIT": "long",
    "IBKR_GATEWAY_TIMEOUT": "longer",
    "IBKR_GATEWAY_WATCH": "always",
    "IBKR_BRIDGE_ADD_COID": "perhaps",
    "IBKR_BRIDGE_REGION": "moon",
    "IBKR_BRIDGE_MAINTENANCE": "sometimes",
    "IBKR_BRIDGE_LOG_LEVEL": "loud",
    "IBKR_BRIDGE_LOG_FORMAT": "pretty",
    "IBKR_BRIDGE_ACCESS_LOG": "some",
    "IBKR_BRIDGE_ALLOW_REMOTE": "perhaps",
    "IBKR_BRIDGE_ALLOWED_HOSTS": "http://elsewhere",
}
SECRET_NAMES = ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_KEY_PREVIOUS", "IBKR_BRIDGE_READONLY_KEY")


def settings_with(**env: str) -> Settings:
    """The settings of a good key and what the test adds."""
    return Settings.from_env({"IBKR_BRIDGE_KEY": KEY, **env})


def problems_of(env: dict[str, str]) -> list[Problem]:
    """The problems of an environment; an empty list if it can be used."""
    try:
        Settings.from_env(env)
    except SettingsError as exc:
        return exc.problems
    return []


def only_problem(**env: str) -> Problem:
    """The only problem of a good key and what the test adds."""
    (problem,) = problems_of({"IBKR_BRIDGE_KEY": KEY, **env})
    return problem


# -- defaults and values


def test_the_two_settings_of_an_app_are_enough(tmp_path: Path) -> None:
    """With the `.env` of an app the bridge starts, and every default is the safe one."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"IBKR_BRIDGE_URL=http://127.0.0.1:8000\nIBKR_BRIDGE_KEY={KEY}\n")

    loaded = load_settings({}, dotenv)

    assert (str(loaded.url), loaded.key, str(loaded.gateway_url)) == (
        "http://127.0.0.1:8000",
        KEY,
        "https://127.0.0.1:5000",
    )
    assert loaded.trading_mode is Mode.PAPER
    assert (loaded.allow_remote, loaded.allow_paid_snapshots, loaded.read_only) == (False, False, False)


def test_the_defaults_are_those_of_the_documentation() -> None:
    """docs/settings.md has the same."""
    loaded = settings_with()

    assert (loaded.max_wait_s, loaded.gateway_timeout_s, loaded.gateway_watch_s) == (5.0, 15.0, 3.0)
    assert (loaded.max_order_quantity, loaded.max_order_value, loaded.allowed_accounts) == (None, None, frozenset())
    assert (loaded.compete, loaded.add_coid, loaded.extra_prefixes) == (Compete.RECLAIM, True, ())
    assert (loaded.log_level, loaded.log_format, loaded.region) == (LogLevel.INFO, LogFormat.AUTO, Region.AMERICA)
    assert (loaded.key_previous, loaded.readonly_key, loaded.secrets) == (None, None, (KEY,))


def test_every_value_is_used(tmp_path: Path) -> None:
    """No setting is read and then dropped."""
    loaded = settings_with(
        IBKR_BRIDGE_URL="http://[::1]:8123",
        IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS_KEY,
        IBKR_BRIDGE_READONLY_KEY=READONLY_KEY,
        IBKR_TRADING_MODE="LIVE",
        IBKR_ALLOWED_ACCOUNTS=" u1234567, DU7654321 ,",
        IBKR_MAX_ORDER_QUANTITY="0.5",
        IBKR_BRIDGE_EXTRA_PREFIXES="trsrv, /pa/",
        IBKR_BRIDGE_STATE_DIR=str(tmp_path),
        IBKR_BRIDGE_MAX_WAIT="0",
        IBKR_GATEWAY_TIMEOUT="20s",
        IBKR_BRIDGE_ALLOWED_HOSTS="Bridge.Local:8000,bridge,app_bridge_1:80",
    )

    assert str(loaded.url) == "http://[::1]:8123"
    assert loaded.secrets == (KEY, PREVIOUS_KEY, READONLY_KEY)
    assert loaded.trading_mode is Mode.LIVE
    assert loaded.allowed_accounts == {"U1234567", "DU7654321"}
    assert loaded.max_order_quantity == Decimal("0.5")
    assert (loaded.extra_prefixes, loaded.state_dir) == (("trsrv", "pa"), tmp_path)
    assert (loaded.max_wait_s, loaded.gateway_timeout_s) == (0.0, 20.0)
    assert loaded.allowed_hosts == {"bridge.local:8000", "bridge", "app_bridge_1:80"}


# -- problems


def test_all_problems_are_reported_at_once_in_the_order_of_the_example_file() -> None:
    """A person corrects them in one go, from top to bottom."""
    problems = problems_of({**WRONG_VALUES, "IBKR_BRIDGE_ZZZ": "1", "IBKR_GATEWAY_AAA": "1"})

    assert [problem.name for problem in problems] == [*WRONG_VALUES, "IBKR_BRIDGE_ZZZ", "IBKR_GATEWAY_AAA"]


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES.items())
def test_each_problem_names_the_setting_what_was_found_and_what_is_allowed(name: str, value: str) -> None:
    """A person can act on the message without the manual."""
    (problem,) = (problem for problem in problems_of({"IBKR_BRIDGE_KEY": KEY, name: value}) if problem.name == name)

    assert problem.found
    assert problem.allowed
    assert str(problem) == f"{name}: {problem.found}; {problem.allowed}"


def test_the_text_of_the_error_has_a_line_for_each_problem() -> None:
    """A terminal shows this text."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(WRONG_VALUES)

    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]


def test_the_problems_of_the_sources_come_first() -> None:
    """If `.env` cannot be read, that explains the missing settings."""
    earlier = Problem(".env", "cannot be read", "fix it")

    with pytest.raises(SettingsError) as caught:
        Settings.from_env({}, [earlier])

    assert [problem.name for problem in caught.value.problems] == [".env", "IBKR_BRIDGE_KEY"]


@pytest.mark.parametrize("value", [None, "", "   ", PLACEHOLDER, "short", "k" * 31, "k" * 513, "k y" * 20, "ä" * 40])
def test_an_unusable_key_is_refused_with_the_command_that_makes_one(value: str | None) -> None:
    """The bridge never starts with a key that can be guessed."""
    (problem,) = problems_of({} if value is None else {"IBKR_BRIDGE_KEY": value})

    assert problem.name == "IBKR_BRIDGE_KEY"
    assert "bridge.py genkey" in problem.allowed


@pytest.mark.parametrize("name", SECRET_NAMES[1:])
@pytest.mark.parametrize("value", ["", PLACEHOLDER, "short"])
def test_the_other_keys_must_be_as_strong_as_the_first(name: str, value: str) -> None:
    """An attacker would use the weakest key."""
    problem = only_problem(**{name: value})

    assert problem.name == name
    assert "bridge.py genkey" in problem.allowed


def test_a_reading_key_equal_to_the_full_key_is_refused() -> None:
    """Otherwise the key of a dashboard could trade."""
    problem = only_problem(IBKR_BRIDGE_READONLY_KEY=KEY)

    assert problem.name == "IBKR_BRIDGE_READONLY_KEY"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("IBKR_BRIDGE_MAX_WAIT", "IBKR_GATEWAY_TIMEOUT", "IBKR_GATEWAY_WATCH")
          for value in ("nan", "inf", "-inf", "-1", "1e9", "1e999", "five", "s", "0x5", "--1")),
        *((name, value) for name in ("IBKR_MAX_ORDER_QUANTITY", "IBKR_MAX_ORDER_VALUE")
          for value in ("nan", "sNaN", "inf", "-inf", "0", "-1", "1,000", "ten", "$5", "1e99999999999999999999")),
    ],
)  # fmt: skip
def test_a_number_outside_the_limits_is_refused(name: str, value: str) -> None:
    """A limit of NaN would limit nothing, and an infinite wait would never end."""
    assert only_problem(**{name: value}).name == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IBKR_BRIDGE_MAX_WAIT", "60"),
        ("IBKR_BRIDGE_MAX_WAIT", " 2.5 "),
        ("IBKR_GATEWAY_TIMEOUT", "1"),
        ("IBKR_GATEWAY_WATCH", "5"),
        ("IBKR_MAX_ORDER_QUANTITY", "0.0001"),
        ("IBKR_MAX_ORDER_VALUE", "1000000000"),
    ],
)
def test_a_number_at_the_limit_is_accepted(name: str, value: str) -> None:
    """The limits themselves are allowed."""
    assert problems_of({"IBKR_BRIDGE_KEY": KEY, name: value}) == []


@pytest.mark.parametrize("prefix", sorted(NEVER_BRIDGED))
def test_sign_in_and_token_paths_can_never_be_opened(prefix: str) -> None:
    """However they are written, no caller reaches IBKR's login through the bridge."""
    for template in (
        prefix,
        f"/{prefix}/",
        f"trsrv,{prefix}",
        f" {prefix} ",
        prefix.upper(),
        f"{prefix}/x",
        f"%{prefix}",
    ):
        assert only_problem(IBKR_BRIDGE_EXTRA_PREFIXES=template).name == "IBKR_BRIDGE_EXTRA_PREFIXES"


@pytest.mark.parametrize("name", ["sso", "logout", "clear", "oauth"])
def test_the_most_important_prefixes_stay_forbidden(name: str) -> None:
    """The set may grow, but it must not lose these."""
    assert name in NEVER_BRIDGED


@pytest.mark.parametrize("prefix", ["gateway", "health", "v1", "..", "a/b", "a b", "trsrv;pa", "*"])
def test_a_malformed_prefix_or_one_of_the_bridge_is_refused(prefix: str) -> None:
    """A route of the bridge itself must not lead to the Gateway."""
    assert only_problem(IBKR_BRIDGE_EXTRA_PREFIXES=prefix).name == "IBKR_BRIDGE_EXTRA_PREFIXES"


@pytest.mark.parametrize("value", [",", " , ,", "DU1;DU2", "DU1234567 DU7654321", "*", "-1"])
def test_a_list_of_accounts_without_an_account_does_not_mean_all(value: str) -> None:
    """The person wanted a limit; a typing error must not remove it."""
    assert only_problem(IBKR_ALLOWED_ACCOUNTS=value).name == "IBKR_ALLOWED_ACCOUNTS"


@pytest.mark.parametrize("value", ["U12345678;x", "my-U12345678"])
def test_no_message_has_an_account_number(value: str) -> None:
    """Messages are copied into bug reports."""
    assert "U12345678" not in str(only_problem(IBKR_ALLOWED_ACCOUNTS=value))


# -- addresses


@pytest.mark.parametrize(
    "url",
    [
        *("http://0.0.0.0:8000", "http://[::]:8000", "http://192.168.1.5:8000", "http://bridge.local", "http://:8000"),
        *("https://127.0.0.1:8000", "127.0.0.1:8000", "http://127.0.0.1:99999", "http://127.0.0.1:x", "http://[::1"),
        *("http://127.0.0.1:8000/api", "http://127.0.0.1?x=1", "http://me:pw@127.0.0.1:8000", "http://127.0.0.1#x"),
        *("http://127.1", "http://localhost.example.com", "http://127.0.0.1.nip.io"),
    ],
)
def test_a_listening_address_that_is_not_clearly_loopback_is_refused(url: str) -> None:
    """Other machines may connect only if that was set explicitly."""
    assert only_problem(IBKR_BRIDGE_URL=url).name == "IBKR_BRIDGE_URL"


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://127.0.0.2:1", "http://localhost:8000/", "HTTP://[::1]:80"])
def test_every_loopback_address_may_be_listened_on(url: str) -> None:
    """By any name or address of loopback."""
    assert problems_of({"IBKR_BRIDGE_KEY": KEY, "IBKR_BRIDGE_URL": url}) == []


def test_other_machines_may_connect_if_that_is_set() -> None:
    """It must be set explicitly."""
    loaded = settings_with(IBKR_BRIDGE_URL="http://0.0.0.0:8000", IBKR_BRIDGE_ALLOW_REMOTE="yes")

    assert (loaded.url.host, loaded.allow_remote) == ("0.0.0.0", True)


@pytest.mark.parametrize("url", ["https://10.0.0.5:5000", "https://gateway:5000", "https://[2001:db8::1]:5000"])
def test_a_gateway_elsewhere_needs_a_certificate_that_can_be_checked(url: str, tmp_path: Path) -> None:
    """All Gateways have the same certificate. Without a pin another machine could pretend to be the Gateway."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("a certificate")

    assert "IBKR_GATEWAY_FINGERPRINT" in only_problem(IBKR_GATEWAY_URL=url).allowed
    assert settings_with(IBKR_GATEWAY_URL=url, IBKR_GATEWAY_FINGERPRINT=PIN).gateway_fingerprint == bytes.fromhex(PIN)
    assert settings_with(IBKR_GATEWAY_URL=url, IBKR_GATEWAY_CA_FILE=str(ca_file)).gateway_ca_file == ca_file


def test_a_pin_does_not_allow_plain_http_to_another_machine() -> None:
    """Without TLS there is no certificate."""
    problem = only_problem(IBKR_GATEWAY_URL="http://10.0.0.5:5000", IBKR_GATEWAY_FINGERPRINT=PIN)

    assert problem.name == "IBKR_GATEWAY_URL"


def test_with_gateway_replaces_the_address_of_the_gateway() -> None:
    """The demo changes this and nothing else."""
    original = settings_with()

    loaded = original.with_gateway("https://127.0.0.1:40123")

    assert str(loaded.gateway_url) == "https://127.0.0.1:40123"
    assert loaded.with_gateway(str(original.gateway_url)) == original


# -- unknown names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("IBKR_BRIDGE_KEYS", "IBKR_BRIDGE_KEY"),
        ("IBKR_BRIDGE_READ_ONLY_KEY", "IBKR_BRIDGE_READONLY_KEY"),
        ("IBKR_GATEWAY_TIME_OUT", "IBKR_GATEWAY_TIMEOUT"),
        ("IBKR_GATEWAY_FINGER_PRINT", "IBKR_GATEWAY_FINGERPRINT"),
        ("IBKR_BRIDGE_ALLOWED_HOST", "IBKR_BRIDGE_ALLOWED_HOSTS"),
    ],
)
def test_a_misspelt_name_is_reported_with_the_right_one(name: str, meant: str) -> None:
    """Otherwise a mistyped limit would silently not exist."""
    problem = only_problem(**{name: "1"})

    assert (problem.name, problem.allowed) == (name, f"did you mean {meant}?")


@pytest.mark.parametrize(
    "name", ["IBKR_ACCOUNT", "IBKR_TRADING_MODES", "IBKR_USERNAME", "IBEAM_KEY", "PATH", "BRIDGE_KEY"]
)
def test_names_of_other_programs_are_ignored(name: str) -> None:
    """An app may have its own IBKR_* settings in the same file."""
    assert problems_of({"IBKR_BRIDGE_KEY": KEY, name: "anything"}) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("IBKR_READONLY_MODE", "IBKR_READ_ONLY"),
        ("ibkr_max_order_value", "IBKR_MAX_ORDER_VALUE"),
        ("IBKR_ALLOWED_ACCTS", "IBKR_ALLOWED_ACCOUNTS"),
        ("IKBR_MAX_ORDER_QUANTITY", "IBKR_MAX_ORDER_QUANTITY"),
        ("IBKR_BRIDGE_READ_ONLY", "IBKR_READ_ONLY"),
    ],
)
def test_a_misspelt_limit_stops_the_start_from_either_source(name: str, meant: str, tmp_path: Path) -> None:
    """Trading without a limit that its owner believes in is worse than not starting."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"IBKR_BRIDGE_KEY={KEY}\n{name}=1\n")

    assert (only_problem(**{name: "1"}).name, only_problem(**{name: "1"}).allowed) == (name, f"did you mean {meant}?")
    with pytest.raises(SettingsError, match=meant):
        load_settings({}, dotenv)


def test_every_field_has_the_name_of_its_setting() -> None:
    """A reload names the settings that it does not apply, and must name the right ones."""
    names = dict(zip(setting_fields(), setting_names(), strict=True))

    assert all(name.removesuffix("_s").upper() in setting for name, setting in names.items())


def test_a_change_that_needs_a_restart_is_named() -> None:
    """Keys and the settings of the log do not."""
    latest = settings_with(
        IBKR_MAX_ORDER_VALUE="5",
        IBKR_READ_ONLY="yes",
        IBKR_BRIDGE_READONLY_KEY=READONLY_KEY,
        IBKR_BRIDGE_LOG_LEVEL="debug",
        IBKR_BRIDGE_ACCESS_LOG="none",
    )

    assert names_needing_restart(settings_with(), latest) == ("IBKR_READ_ONLY", "IBKR_MAX_ORDER_VALUE")
    assert names_needing_restart(latest, latest) == ()


# -- secrets


@pytest.mark.parametrize("line", [name for name in WRONG_VALUES if name not in SECRET_NAMES])
def test_no_message_has_a_key_pasted_into_the_wrong_line(line: str) -> None:
    """Messages are copied into tickets, where everybody could read the key; lower-casing does not protect it."""
    pasted = [form.format(CANARY) for form in ("{}", "http://{}", "https://{}:5000", "http://x:{}@127.0.0.1", "x,{}")]
    envs = [{"IBKR_BRIDGE_KEY": KEY, name: CANARY, line: text} for name in SECRET_NAMES for text in pasted]

    messages = ["\n".join(str(problem) for problem in problems_of(env)) for env in envs]

    assert all(messages)
    assert not [text for text in messages if CANARY.lower() in text.lower()]


@pytest.mark.parametrize("line", ["IBKR_READ_ONLY", "IBKR_BRIDGE_URL", "IBKR_COMPETE", "IBKR_BRIDGE_MAX_WAIT"])
def test_no_message_has_a_key_that_is_set_with_white_space_around_it(line: str) -> None:
    """A key with a newline at its end is the same key."""
    message = str(only_problem(**{"IBKR_BRIDGE_KEY": f" {CANARY}\n", line: CANARY}))

    assert CANARY.lower() not in message.lower()


@pytest.mark.parametrize("name", [f"IBKR_BRIDGE_KEY:{CANARY}", f"IBKR_BRIDGE_{CANARY}", f"IBKR_BRIDGE_KEY{CANARY}"])
def test_no_message_has_a_key_that_became_part_of_a_name(name: str, tmp_path: Path) -> None:
    """With a colon in place of the equals sign the key is part of the name."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"IBKR_BRIDGE_KEY={CANARY}\n{name}\n")

    with pytest.raises(SettingsError) as caught:
        load_settings({}, dotenv)

    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("secret", SECRET_NAMES)
@pytest.mark.parametrize("value", [f"{CANARY} x", CANARY + "ä", CANARY[:31], CANARY * 20])
def test_no_message_has_a_refused_key(secret: str, value: str) -> None:
    """Most of a key helps an attacker as much as the key."""
    message = "\n".join(str(problem) for problem in problems_of({"IBKR_BRIDGE_KEY": KEY, secret: value}))

    assert message
    assert CANARY[:31] not in message


def test_the_repr_has_no_key() -> None:
    """Settings may be logged."""
    loaded = settings_with(IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS_KEY, IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    assert not [key for key in (KEY, PREVIOUS_KEY, READONLY_KEY) if key in repr(loaded) or key in str(loaded)]


# -- sources


def test_the_environment_precedes_the_file_and_the_file_precedes_secret_files(tmp_path: Path) -> None:
    """The source closest to the process wins."""
    dotenv, secret = tmp_path / ".env", tmp_path / "secret"
    dotenv.write_text(f"IBKR_BRIDGE_KEY={PREVIOUS_KEY}\nIBKR_TRADING_MODE=live\n")
    secret.write_text(f"{READONLY_KEY}\n")
    env = {"IBKR_BRIDGE_KEY_FILE": str(secret)}

    assert load_settings({**env, "IBKR_BRIDGE_KEY": KEY}, dotenv).key == KEY
    assert load_settings({**env, "IBKR_TRADING_MODE": "paper"}, dotenv).key == PREVIOUS_KEY
    assert load_settings({**env, "IBKR_TRADING_MODE": "paper"}, dotenv).trading_mode is Mode.PAPER
    assert load_settings(env, None).key == READONLY_KEY


@pytest.mark.parametrize("line", ["IBKR_BRIDGE_KEY={} # mine", "\ufeffIBKR_BRIDGE_KEY={}", "IBKR_BRIDGE_KEY={}\\"])
@pytest.mark.parametrize("copy", ["env", "env.began"])
def test_a_service_refuses_lines_systemd_reads_differently(tmp_path: Path, line: str, copy: str) -> None:
    """At its start and at a reload. The message has the number of the line and nothing of its text."""
    (tmp_path / "env.began").write_text("# nothing is set\n")
    (tmp_path / copy).write_text(f"A=1\n\n{line.format(CANARY)}\n")

    with pytest.raises(SettingsError, match="line 3 is read differently by systemd") as caught:
        load_settings({"IBKR_BRIDGE_KEY": KEY, "RELOAD_DIRECTORY": str(tmp_path)}, None)

    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "line", ['APP="a \\" b" # c', "APP=a\\ b", "IBKR_X='a b'", "# \u00e9", "", "  # IBKR_X = 1", "IBKR_X=a#b"]
)
def test_plain_lines_and_lines_of_an_app_are_accepted(tmp_path: Path, line: str) -> None:
    """An app may share the file."""
    (tmp_path / ".env").write_text(line)

    assert lines_systemd_reads_differently(tmp_path / ".env") == []


def test_the_example_file_is_accepted() -> None:
    """It is copied to the file of the service."""
    assert lines_systemd_reads_differently(PROJECT_ROOT / ".env.example") == []


def test_an_empty_value_in_the_environment_precedes_the_file(tmp_path: Path) -> None:
    """A value that was set is never silently replaced."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"IBKR_BRIDGE_KEY={KEY}\n")

    with pytest.raises(SettingsError, match="found an empty value"):
        load_settings({"IBKR_BRIDGE_KEY": ""}, dotenv)


def test_systemd_passes_keys_as_credentials(tmp_path: Path) -> None:
    """So neither the unit file nor the environment has a key."""
    for name, value in zip(SECRET_NAMES, (KEY, PREVIOUS_KEY, READONLY_KEY), strict=True):
        (tmp_path / name).write_text(f"{value}\n")

    loaded = load_settings({"CREDENTIALS_DIRECTORY": str(tmp_path)}, None)

    assert loaded.secrets == (KEY, PREVIOUS_KEY, READONLY_KEY)


def test_a_secret_file_may_be_named_in_the_env_file(tmp_path: Path) -> None:
    """`IBKR_BRIDGE_KEY_FILE` works in both places."""
    (tmp_path / "secret").write_text(KEY)
    (tmp_path / ".env").write_text(f"IBKR_BRIDGE_KEY_FILE={tmp_path / 'secret'}\n")

    assert load_settings({}, tmp_path / ".env").key == KEY


@pytest.mark.parametrize("content", [b"\xff\xfe" + CANARY.encode(), None])
def test_a_secret_file_that_cannot_be_read_is_a_problem_not_a_crash(content: bytes | None, tmp_path: Path) -> None:
    """The message names the file and has none of its bytes."""
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)

    with pytest.raises(SettingsError) as caught:
        load_settings({"IBKR_BRIDGE_KEY_FILE": str(secret)}, None)

    assert "IBKR_BRIDGE_KEY_FILE" in [problem.name for problem in caught.value.problems]
    assert CANARY not in str(caught.value)


def test_the_road_without_a_gateway() -> None:
    """The usual values are IBKR's own; a simulated API on this machine needs no certificate."""
    usual = settings_with()
    changed = settings_with(
        IBKR_BRIDGE_ROAD="oauth",
        IBKR_BRIDGE_API_URL="http://127.0.0.1:7000",
        IBKR_BRIDGE_API_RATE="50",
        IBKR_BRIDGE_PORTFOLIO_ONLY="yes",
        IBKR_BRIDGE_LOCAL_ADDRESS="127.0.0.3",
    )

    assert (usual.road, str(usual.api_url), usual.api_rate) == (RoadKind.GATEWAY, "https://api.ibkr.com:443", 10)
    assert (usual.portfolio_only, usual.local_address, usual.profile) == (False, None, "main")
    assert (changed.road, str(changed.api_url), changed.api_rate) == (RoadKind.OAUTH, "http://127.0.0.1:7000", 50)
    assert (changed.portfolio_only, changed.local_address) == (True, "127.0.0.3")


@pytest.mark.parametrize(
    ("url", "ca_file", "is_accepted"),
    [
        ("https://1.api.ibkr.com", False, True),
        ("http://1.api.ibkr.com", False, False),
        ("https://api.example", False, False),
        ("https://notibkr.com", False, False),
        ("https://api.example", True, True),
        ("https://localhost:7000", False, True),
    ],
)
def test_signed_calls_go_to_ibkr_alone(url: str, ca_file: bool, is_accepted: bool, tmp_path: Path) -> None:
    """A host that somebody else owns would get orders, and could answer them as it likes."""
    file = tmp_path / "ca.pem"
    file.touch()
    env = {"IBKR_BRIDGE_KEY": KEY, "IBKR_BRIDGE_API_URL": url} | (
        {"IBKR_BRIDGE_API_CA_FILE": str(file)} if ca_file else {}
    )

    assert (problems_of(env) == []) is is_accepted


@pytest.mark.parametrize("path", ["x\0y", "x" * 5000, "/dev/null/x", "/"])
@pytest.mark.parametrize("name", ["IBKR_BRIDGE_KEY_FILE", "CREDENTIALS_DIRECTORY", "IBKR_GATEWAY_CA_FILE"])
def test_an_impossible_path_is_a_problem_not_a_crash(name: str, path: str) -> None:
    """A person gets a message and no traceback."""
    with pytest.raises(SettingsError):
        load_settings({name: path}, None)


# -- the .env file


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_written_on_windows_is_read_in_the_same_way(bom: bytes, newline: str, tmp_path: Path) -> None:
    """A byte order mark or a carriage return must not become part of a key."""
    dotenv = tmp_path / ".env"
    lines = ("# the bridge", f"IBKR_BRIDGE_KEY={KEY}", "", 'export IBKR_TRADING_MODE="live"', "")
    dotenv.write_bytes(bom + newline.join(lines).encode())

    loaded = load_settings({}, dotenv)

    assert (loaded.key, loaded.trading_mode) == (KEY, Mode.LIVE)


@pytest.mark.parametrize("template", ["{}", "'{}'", '"{}"'])
def test_a_dollar_sign_means_itself(template: str, tmp_path: Path) -> None:
    """`$HOME` in a key is not replaced by a directory."""
    key = "abc$HOME${PATH}$$x$(id)`id`-0123456789-abcdef"
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"IBKR_BRIDGE_KEY={template.format(key)}\n")

    assert load_settings({"HOME": "/root", "PATH": "/bin"}, dotenv).key == key


def test_a_missing_file_counts_as_an_empty_one(tmp_path: Path) -> None:
    """Under systemd there is usually no `.env`."""
    assert load_settings({"IBKR_BRIDGE_KEY": KEY}, tmp_path / ".env").key == KEY


@pytest.mark.parametrize("kind", ["a directory", "not text", "a link to itself"])
def test_a_file_that_cannot_be_read_is_reported(kind: str, tmp_path: Path) -> None:
    """If it were ignored, the bridge would start without the limits in it."""
    dotenv = tmp_path / ".env"
    if kind == "a directory":
        dotenv.mkdir()
    elif kind == "not text":
        dotenv.write_bytes(b"IBKR_BRIDGE_KEY=\xff\xfe" + CANARY.encode())
    else:
        dotenv.symlink_to(dotenv)

    with pytest.raises(SettingsError) as caught:
        load_settings({"IBKR_BRIDGE_KEY": KEY}, dotenv)

    assert [problem.name for problem in caught.value.problems] == [".env"]
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"IBKR_BRIDGE_KEY={KEY}\nthis is not a setting\n", 2),
        (f"# one\nIBKR_BRIDGE_KEY={KEY}\n\n\nthis is not a setting\n", 5),
        (f"IBKR_BRIDGE_KEY={KEY}\r\n\r\nIBKR_READ_ONLY='yes\r\n", 3),
    ],
)
def test_a_line_that_is_not_a_setting_is_reported_with_its_number(text: str, line: int, tmp_path: Path) -> None:
    """An editor shows the same number; blank lines count."""
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(text.encode())

    with pytest.raises(SettingsError) as caught:
        load_settings({}, dotenv)

    assert [problem.found for problem in caught.value.problems] == [f"line {line} is not a setting"]


# -- any input

VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["", "0", "1", "-1", "nan", "inf", "yes", ",", ";", "http://", "https://[", "//", "%", "\0", "1e9"]
    ),
    st.from_regex(r"https?://[a-z0-9.\[\]:@]{0,20}(:\d{0,6})?", fullmatch=True),
    st.from_regex(r"[a-z]{3}(-[a-z]{3})? [0-9:.+Z]{0,12}-[0-9:.+Z]{0,12}", fullmatch=True),
)


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(WRONG_VALUES)), st.text(max_size=20)), VALUES))
@example({"IBKR_GATEWAY_CA_FILE": "x" * 5000})
@example({"IBKR_BRIDGE_MAINTENANCE": "mon 01:00+01-02:00"})
@example({"IBKR_MAX_ORDER_VALUE": "1e99999999999999999999"})
def test_no_environment_crashes_the_reader(env: dict[str, str]) -> None:
    """The result is settings or a list of problems."""
    try:
        loaded = Settings.from_env(env)
    except SettingsError as exc:
        assert exc.problems
    else:
        assert len(loaded.key) >= 32


@given(st.one_of(st.binary(), st.text("A=\"'#\\\n\r $é", max_size=40).map(str.encode)))
def test_no_bytes_in_the_file_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Half a file, a picture, a key store: each gives values or problems."""
    dotenv = tmp_path_factory.getbasetemp() / "any.env"
    dotenv.write_bytes(content)
    problems: list[Problem] = []

    loaded = read_dotenv(dotenv, problems)

    assert all(isinstance(value, str) for value in loaded.values())
    assert all(problem.name == ".env" for problem in problems)


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S"), exclude_characters="#'\"\\"), min_size=1))
def test_a_value_without_quotes_is_taken_literally(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    """The bridge compares exactly this text with the key of callers."""
    dotenv = tmp_path_factory.getbasetemp() / "literal.env"
    dotenv.write_text(f"NAME={value}\n")

    assert read_dotenv(dotenv, []) == {"NAME": value}
