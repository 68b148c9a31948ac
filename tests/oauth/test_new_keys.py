"""The keys that a user uploads: they belong together, and openssl can read them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ibkr_bridge.oauth.dh_parameters import ParametersProblem
from ibkr_bridge.oauth.new_keys import KeysNotMade, NewKeys, make_dh_parameters, make_keys
from ibkr_bridge.oauth.signing import load_rsa_key
from tests.harness import with_timeout
from tests.oauth.credentials import credential

DH_PARAMETERS = credential().dh_parameters


def install_openssl(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Let a script be the program `openssl`: the real one takes a minute."""
    program = folder / "openssl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


async def test_the_public_files_belong_to_the_private_keys() -> None:
    """Swapped files are the classic mistake, so each has the name of IBKR's page."""
    steps: list[str] = []
    made = await make_keys(DH_PARAMETERS, steps.append)

    for name, private in (("signature", made.signature_key), ("encryption", made.encryption_key)):
        public = load_pem_public_key(made.public_files[f"public_{name}.pem"].encode())
        assert load_rsa_key(private.encode()).public_key() == public
    assert (made.public_files["dhparam.pem"], made.dh_parameters) == (DH_PARAMETERS.strip() + "\n", DH_PARAMETERS)
    assert set(made.members) == {"signature_key", "encryption_key", "dh_parameters"}
    assert steps == ["making two RSA keys"]
    assert "PRIVATE" not in repr(made)


def test_a_key_of_another_kind_has_no_public_file() -> None:
    """Nothing is shown of it."""
    with pytest.raises(ValueError, match=r"."):
        _ = NewKeys("-----BEGIN PRIVATE KEY-----", "", DH_PARAMETERS).public_files


async def test_a_file_that_ibkr_would_refuse_is_refused_first() -> None:
    """Before the keys are made."""
    with pytest.raises(ParametersProblem):
        await make_keys("-----BEGIN X9.42 DH PARAMETERS-----\nAAAA\n-----END X9.42 DH PARAMETERS-----", lambda _: None)


async def test_openssl_is_asked_for_the_generator_of_the_documents(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """IBKR's documents fix it to 2; the real call takes a minute, so its words are compared."""
    install_openssl(monkeypatch, tmp_path, f'echo "$@" > {tmp_path}/words; echo PARAMETERS')

    assert await with_timeout(make_dh_parameters()) == "PARAMETERS\n"
    assert (tmp_path / "words").read_text() == "dhparam -2 2048\n"


async def test_openssl_ends_with_the_caller_who_gives_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bridge that stops must not wait for a minute."""
    install_openssl(
        monkeypatch, tmp_path, f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 600"
    )
    making = asyncio.create_task(make_dh_parameters())
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)

    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@pytest.mark.parametrize("script", ["", "exit 1"])
async def test_without_a_working_openssl_a_person_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    """A file can be made elsewhere."""
    if script:
        install_openssl(monkeypatch, tmp_path, script)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(KeysNotMade, match="member dh_parameters"):
        await with_timeout(make_dh_parameters())
