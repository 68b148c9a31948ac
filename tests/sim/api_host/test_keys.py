"""The files of a user, as `openssl` reads and writes them."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.api_host.arithmetic import Group
from ibkr_bridge.sim.api_host.keys import load_public_key, read_group, usual_keys, write_group


@pytest.mark.parametrize("group", [Group(), Group(p=0x7F, g=5), Group(p=2**1023 + 1, g=2**1030 + 7)])
def test_parameters_survive_a_file(group: Group) -> None:
    assert read_group(write_group(group)) == group


@pytest.mark.parametrize("pem", ["", "-----BEGIN X-----\nAgEF\n-----END X-----\n", write_group(Group())[:200]])
def test_a_bad_file_of_parameters_is_refused(pem: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_group(pem)


def test_the_two_public_keys_differ_and_can_be_read() -> None:
    keys = usual_keys()
    assert load_public_key(keys.signature_public_pem) != load_public_key(keys.encryption_public_pem)
    assert usual_keys() is keys


def test_a_private_key_is_no_public_key() -> None:
    with pytest.raises(ValueError, match=r"."):
        load_public_key(usual_keys().signature_key_pem)
