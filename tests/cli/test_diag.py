"""`bridge.py diag`: complete enough for a report, and nothing secret in any byte of it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import requests

from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, Demo, Place

NAMES = [
    *("about.json", "conditions.json", "doctor.json", "log.txt", "metrics.txt", "settings.json", "state.txt"),
    "status.json",
]


def content_of(bundle: Path) -> dict[str, str]:
    """The files of a bundle."""
    with tarfile.open(bundle) as file:
        opened = {info.name: file.extractfile(info) for info in file.getmembers()}
        return {Path(name).name: each.read().decode() for name, each in opened.items() if each is not None}


def token_of(demo: Demo) -> str:
    """A token of the demo's key."""
    return str(demo.post("/auth/token").json()["token"])


def test_a_bundle_has_what_a_report_needs(running: Demo, place: Place, tmp_path: Path) -> None:
    """Each file in the form that its reader expects."""
    result = place.run("diag", str(tmp_path / "d.tar.gz"), "--yes")
    files = content_of(tmp_path / "d.tar.gz")

    assert result.returncode == EXIT_OK, result.stderr
    assert sorted(files) == NAMES
    assert json.loads(files["status.json"])["state"] == "ready"
    assert json.loads(files["doctor.json"])
    assert isinstance(json.loads(files["conditions.json"]), list)
    assert json.loads(files["settings.json"])["IBKR_BRIDGE_KEY"] is False  # the demo's key is no setting here
    assert "ibkr_bridge_" in files["metrics.txt"]
    assert "running.json" in files["state.txt"]
    assert (tmp_path / "d.tar.gz").stat().st_mode & 0o777 == 0o600


def test_no_byte_of_it_is_secret(running: Demo, place: Place, tmp_path: Path) -> None:
    """Keys, tokens, cookies, account numbers: in the unpacked files and in what is printed."""
    named = place.run("keys", "add", "reporter", "--read").stdout.strip()
    token = token_of(running)
    with requests.Session() as session:
        session.trust_env = False
        accounts = session.get(
            f"{running.url}/v1/api/portfolio/accounts", headers={"X-Bridge-Key": named}, timeout=20
        ).json()
    state = next(path.parent for path in place.home.rglob("running.json"))
    cookies = state / "main.cookies.json"
    cookies.write_text(json.dumps({"api": {"value": "a-cookie-that-is-a-login-0123456789"}}))
    number = str(accounts[0]["accountId"])
    secrets = [running.key, named, token, "a-cookie-that-is-a-login-0123456789", number]

    result = place.run("diag", str(tmp_path / "d.tar.gz"), "--yes", IBKR_ALLOWED_ACCOUNTS=number)
    everything = "".join(content_of(tmp_path / "d.tar.gz").values()) + result.stdout + result.stderr

    assert len(number) > 5
    assert [secret[:4] for secret in secrets if secret in everything] == []
    assert place.run("keys", "revoke", "reporter").returncode == EXIT_OK


def test_it_lists_before_it_writes(running: Demo, place: Place, tmp_path: Path) -> None:
    """Nobody says yes here."""
    result = place.run("diag", str(tmp_path / "d.tar.gz"))
    listing = place.run("diag", "--list")

    assert result.returncode == EXIT_FAILURE
    assert all(name in result.stdout for name in NAMES)
    assert listing.returncode == EXIT_OK
    assert not (tmp_path / "d.tar.gz").exists()
    assert running.get("/livez").status_code == 200


def test_without_a_bridge_the_bundle_says_so(tmp_path: Path) -> None:
    """That is when a report is needed most."""
    place = Place(tmp_path, IBKR_BRIDGE_KEY="x" * 40, IBKR_BRIDGE_URL="http://127.0.0.1:9")
    result = place.run("diag", "d.tar.gz", "--yes", "--json")
    files = content_of(tmp_path / "d.tar.gz")

    assert result.returncode == EXIT_OK, result.stderr
    assert json.loads(result.stdout)["files"]
    assert "error" in json.loads(files["status.json"])
    assert "x" * 40 not in "".join(files.values())


def test_no_file_is_replaced(running: Demo, place: Place, tmp_path: Path) -> None:
    """It may be the one of an earlier trouble."""
    (tmp_path / "d.tar.gz").write_text("precious")

    result = place.run("diag", str(tmp_path / "d.tar.gz"), "--yes")

    assert result.returncode == EXIT_FAILURE
    assert (tmp_path / "d.tar.gz").read_text() == "precious"
    assert running.get("/livez").status_code == 200


@pytest.mark.parametrize("words", [("--list",), ("--yes",)])
def test_unusable_settings_end_with_78(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The settings say where the bridge is."""
    assert Place(tmp_path).run("diag", *words).returncode == EXIT_MISCONFIGURED
