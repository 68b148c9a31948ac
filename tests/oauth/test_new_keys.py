"""The keys that a user uploads: they belong together, and openssl can read them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ibkr_bridge.oauth.dh_parameters import ParametersProblem
from ibkr_bridge.oauth.new_keys import KeysNotMade, make_dh_parameters, make_keys
from ibkr_bridge.oauth.signing import load_rsa_key
from tests.oauth.credentials import credential

DH_PARAMETERS = credential().dh_parameters


def test_the_public_files_belong_to_the_private_keys() -> None:
    """Swapped files are the classic mistake, so each has the name of IBKR's page."""
    steps: list[str] = []
    made = make_keys(DH_PARAMETERS, steps.append)

    for name, private in (("signature", made.signature_key), ("encryption", made.encryption_key)):
        public = load_pem_public_key(made.public_files[f"public_{name}.pem"].encode())
        assert load_rsa_key(private.encode()).public_key() == public
    assert made.public_files["dhparam.pem"] == made.dh_parameters == DH_PARAMETERS
    assert set(made.members) == {"signature_key", "encryption_key", "dh_parameters"}
    assert steps == ["making two RSA keys"]
    assert "PRIVATE" not in repr(made)


def test_a_file_that_ibkr_would_refuse_is_refused_first() -> None:
    """Before the keys are made."""
    with pytest.raises(ParametersProblem):
        make_keys("-----BEGIN X9.42 DH PARAMETERS-----\nAAAA\n-----END X9.42 DH PARAMETERS-----", lambda _: None)


def test_openssl_is_asked_for_the_generator_of_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """IBKR's documents fix it to 2; the real call takes a minute, so its words are compared."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, DH_PARAMETERS, "")

    monkeypatch.setattr(subprocess, "run", run)

    assert make_dh_parameters() == DH_PARAMETERS
    assert commands[0][1:] == ["dhparam", "-2", "2048"]


def test_without_openssl_a_person_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file can be made elsewhere."""
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(KeysNotMade, match="--dhparam"):
        make_dh_parameters()
