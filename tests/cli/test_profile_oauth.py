"""`bridge.py profile new --road oauth` and `profile import`: no private half of a key touches the disk."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ibkr_bridge.cli.control_client import ControlFailed
from ibkr_bridge.cli.profile_oauth import PROMPTS, read_credential
from ibkr_bridge.oauth.ibkr_pages import UPLOAD_PAGE
from ibkr_bridge.vault.key_file import new_key_line
from tests.cli.command_runner import BRIDGE, EXIT_FAILURE, EXIT_OK, Place, demo
from tests.oauth.credentials import credential

UNREACHABLE = ("--set", "api_url=http://127.0.0.1:9")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place whose demo has a file of keys for the vault, and a file of parameters, which take a minute to make."""
    made = Place(tmp_path_factory.mktemp("oauth"))
    keys = made.home / "vault-keys"
    keys.write_text(new_key_line())
    keys.chmod(0o400)
    made.env["IBKR_BRIDGE_VAULT_KEYS"] = str(keys)
    (made.home / "dhparam.pem").write_text(credential().dh_parameters)
    with demo(made):
        yield made


def test_keys_are_made_sealed_and_uploaded_by_hand(place: Place) -> None:
    """The folder has the public files alone, and the words say where each goes."""
    made = place.run(
        "profile", "new", "ben", "--road", "oauth", *UNREACHABLE, "--dhparam", "dhparam.pem", "--out", "up"
    )
    listed = json.loads(place.run("profile", "list", "--json").stdout)["profiles"]
    files = {each.name: each.read_text() for each in (place.home / "up").iterdir()}

    assert made.returncode == EXIT_OK, made.stderr
    assert set(files) == {"public_signature.pem", "public_encryption.pem", "dhparam.pem"}
    assert not any("PRIVATE" in text for text in files.values())
    assert UPLOAD_PAGE in made.stderr
    assert "profile import ben" in made.stderr
    assert [(each["name"], each["reason"]) for each in listed if each["name"] == "ben"] in (
        [("ben", "credential_missing")],
        [("ben", "starting")],
    )


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ('{"consumer_key": "ABCDEFGHI"}', {"consumer_key": "ABCDEFGHI"}),
        (
            "consumer_key=ABCDEFGHI\n# a comment\naccess_token = x=y \n",
            {"consumer_key": "ABCDEFGHI", "access_token": "x=y"},
        ),
    ],
)
def test_the_input_is_json_or_lines(monkeypatch: pytest.MonkeyPatch, text: str, members: dict[str, str]) -> None:
    """A secret in the arguments could be read by every user of this machine."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    assert read_credential(PROMPTS) == members


@pytest.mark.parametrize("text", ["", "{", "[1]", "no pairs", '{"signature_key": "@/no/such/file"}'])
def test_another_input_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Nothing of it is repeated."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    with pytest.raises(ControlFailed, match="input"):
        read_credential(PROMPTS)


def test_a_file_of_parameters_that_ibkr_refuses_makes_no_keys(place: Place) -> None:
    """The profile exists then, without keys; the words say why."""
    (place.home / "wrong.pem").write_text(
        "-----BEGIN X9.42 DH PARAMETERS-----\nAAAA\n-----END X9.42 DH PARAMETERS-----\n"
    )
    made = place.run("profile", "new", "carl", "--road", "oauth", *UNREACHABLE, "--dhparam", "wrong.pem")

    assert made.returncode == EXIT_FAILURE
    assert "without -dsaparam" in made.stderr


def test_the_keys_of_a_company_are_stored_and_removed(place: Place) -> None:
    """Over the control socket: no private half is on a disk in plain, nor in the output."""
    own = credential()
    members = {
        "consumer_key": "SHOPSKEYX",
        "signature_key": own.signature_key,
        "encryption_key": own.encryption_key,
        "dh_parameters": "@dhparam.pem",
    }
    words = [sys.executable, str(BRIDGE), "profile", "consumer"]
    stored = subprocess.run(
        words,
        cwd=place.home,
        env=place.env,
        input=json.dumps(members),
        capture_output=True,
        text=True,
        check=False,
    )
    removed = place.run("profile", "consumer", "--remove")

    assert (stored.returncode, stored.stdout) == (EXIT_OK, "The keys of the company are sealed.\n"), stored.stderr
    assert (removed.returncode, removed.stdout) == (EXIT_OK, "The keys of the company are removed.\n")
