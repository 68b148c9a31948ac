"""Files with further profiles: the checks of the environment, and every problem under the names of the file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.config.profile_files import (
    MEMBER_OF_SETTING,
    OF_PROCESS,
    SETTING_OF_MEMBER,
    parse_profile_file,
    read_profiles,
)
from ibkr_bridge.config.settings import Mode, RoadKind, Settings, setting_fields, setting_names
from ibkr_bridge.config.sources import PROJECT_ROOT
from tests.harness import KEY

ENV = {"IBKR_BRIDGE_KEY": KEY, "IBKR_BRIDGE_STATE_DIR": "/var/lib/bridge", "IBKR_MAX_ORDER_VALUE": "7"}
TWO = """
[profile.anna]
road = "oauth"
mode = "live"
user = "user-17"
accounts = ["U1234567", "U7654321"]
max_order_value = 2500.50
portfolio_only = true

[profile.paper]
gateway_url = "https://127.0.0.1:5001"
"""


def read(tmp_path: Path, text: str, name: str = "profiles.toml") -> tuple[list[Settings], list[str]]:
    """The profiles of a file with this text, and the problems as a person reads them."""
    file = tmp_path / name
    file.write_text(text)
    profiles, problems = read_profiles((tmp_path,), Settings.from_env(ENV))
    return profiles, [str(problem) for problem in problems]


def test_each_profile_has_its_own_settings(tmp_path: Path) -> None:
    """Nothing is inherited from `main`: a cap that is not set is not set."""
    (anna, paper), problems = read(tmp_path, TWO)

    assert problems == []
    assert (anna.profile, anna.road, anna.trading_mode, anna.user) == ("anna", RoadKind.OAUTH, Mode.LIVE, "user-17")
    assert anna.allowed_accounts == {"U1234567", "U7654321"}
    assert (anna.max_order_value, anna.portfolio_only) == (Decimal("2500.5"), True)
    assert (paper.trading_mode, paper.max_order_value, paper.gateway_url.port) == (Mode.PAPER, None, 5001)
    assert paper.state_dir == Path("/var/lib/bridge")


def test_every_setting_of_a_profile_has_a_member() -> None:
    """A new setting belongs to each profile or to the process, and somebody has to say which."""
    fields_of_members = {
        field for field, name in zip(setting_fields(), setting_names(), strict=True) if name in MEMBER_OF_SETTING
    }

    assert sorted((*fields_of_members, *OF_PROCESS)) == sorted(setting_fields())
    assert len(MEMBER_OF_SETTING) == len(SETTING_OF_MEMBER)


def test_the_page_lists_every_member() -> None:
    """A person reads there what may stand in a file."""
    page = (PROJECT_ROOT / "docs" / "profiles.md").read_text()

    rows = [f"| `{member}` | `{setting}` |" for member, setting in SETTING_OF_MEMBER.items()]

    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[profile.anna]\nmode = "pretend"', "[profile.anna] mode: found 'pretend'; allowed: paper, live"),
        ("[profile.anna]\nmax_order_valu = 5", "did you mean max_order_value?"),
        ("[profile.anna]\nuser = 'a b'", "[profile.anna] user"),
        ("[profile.Anna]\n", "cannot be a name"),
        ("[profile.main]\n", "is the profile of the environment"),
        ("[profile.anna]\n[profile.anna]\n", "it is no TOML file"),
        ("mode = 'live'", "nothing besides"),
        ("profile = 5", "nothing besides"),
        ("[profile.anna]\n", "found the Gateway of the profile main"),
        ("\x00", "it is no TOML file"),
    ],
)
def test_a_problem_names_the_profile_and_what_is_allowed(tmp_path: Path, text: str, words: str) -> None:
    """A person corrects the file by the message alone."""
    profiles, problems = read(tmp_path, text)

    assert profiles == []
    assert words in problems[0]


def test_a_broken_profile_stops_no_other(tmp_path: Path) -> None:
    """One user's mistake is one user's problem."""
    profiles, problems = read(tmp_path, TWO.replace('mode = "live"', 'mode = "wild"'))

    assert [each.profile for each in profiles] == ["paper"]
    assert len(problems) == 1


def test_a_name_in_two_files_is_used_once(tmp_path: Path) -> None:
    """The files of a directory are read in the order of their names."""
    (tmp_path / "a.toml").write_text('[profile.anna]\nroad = "oauth"\n')
    profiles, problems = read(tmp_path, '[profile.anna]\nroad = "oauth"\n', "b.toml")

    assert [each.profile for each in profiles] == ["anna"]
    assert "twice" in problems[0]


def test_a_file_that_others_can_write_is_not_read(tmp_path: Path) -> None:
    """Whoever writes it could raise a limit."""
    (tmp_path / "open.toml").write_text(TWO)
    (tmp_path / "open.toml").chmod(0o666)

    profiles, problems = read_profiles((tmp_path,), Settings.from_env(ENV))

    assert profiles == []
    assert "can be written by other users" in str(problems[0])


def test_a_directory_that_does_not_exist_has_no_profiles(tmp_path: Path) -> None:
    """Most bridges have one profile."""
    assert read_profiles((tmp_path / "none",), Settings.from_env(ENV)) == ([], [])


def test_no_problem_shows_a_key(tmp_path: Path) -> None:
    """A key that was pasted into the wrong line is named by its length."""
    _, problems = read(tmp_path, f'[profile.anna]\nregion = "{KEY}"\n')

    assert KEY not in problems[0]


@given(st.text())
def test_no_text_crashes_the_reader(text: str) -> None:
    """Whatever a file has, a person gets words."""
    try:
        parse_profile_file(text)
    except ValueError as exc:
        assert str(exc)


def test_a_profile_without_a_usable_value_is_refused(tmp_path: Path) -> None:
    """A table where a text belongs is no reason for an exception."""
    _, problems = read(tmp_path, "[profile.anna]\nmode = {a = 1}\n")

    assert "mode" in problems[0]
