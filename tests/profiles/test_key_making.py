"""Keys in the background: one job at a time, and nothing of an abandoned job is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from ibkr_bridge.profiles.key_making import KeyMaking
from ibkr_bridge.profiles.sealed_store import NoCredential
from tests.clocks import NOON, ManualClock
from tests.harness import with_timeout
from tests.oauth.test_new_keys import DH_PARAMETERS, install_openssl


@pytest.fixture
def stored() -> list[Mapping[str, str]]:
    return []


@pytest.fixture
def making() -> KeyMaking:
    return KeyMaking(ManualClock())


async def end_of(making: KeyMaking, profile: str) -> None:
    """Wait for a job."""
    job = making.find(profile)
    assert job is not None
    assert job.task is not None
    await with_timeout(asyncio.gather(job.task, return_exceptions=True))


async def test_what_is_made_is_stored_and_forgotten(making: KeyMaking, stored: list[Mapping[str, str]]) -> None:
    """Only the vault has it afterwards."""

    async def store(members: Mapping[str, str]) -> None:
        stored.append(members)

    making.begin("anna", DH_PARAMETERS, store)
    job = making.find("anna")
    assert job is not None
    assert (job.is_running, job.began) == (True, NOON)
    await end_of(making, "anna")

    assert [sorted(each) for each in stored] == [["dh_parameters", "encryption_key", "signature_key"]]
    assert making.find("anna") is None


async def test_one_job_at_a_time(
    making: KeyMaking, stored: list[Mapping[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second waits; a second wish of the same profile begins nothing."""
    count = tmp_path / "running"
    install_openssl(monkeypatch, tmp_path, f"mkdir {count} || exit 1; sleep 0.1; rmdir {count}; echo PARAMETERS")

    async def store(members: Mapping[str, str]) -> None:
        stored.append(members)

    for profile in ("anna", "ben", "ben"):
        making.begin(profile, None, store)
    for profile in ("anna", "ben"):
        await end_of(making, profile)

    assert [each["dh_parameters"] for each in stored] == ["PARAMETERS\n"] * 2
    assert len({each["signature_key"] for each in stored}) == 2


async def test_a_job_that_fails_says_why(making: KeyMaking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And it can be begun again."""
    monkeypatch.setenv("PATH", str(tmp_path))

    async def locked(_: Mapping[str, str]) -> None:
        raise NoCredential("vault_locked", "there is no key")

    async def broken(_: Mapping[str, str]) -> None:
        raise RuntimeError("canary")

    problems = []
    for parameters, store in ((None, locked), (DH_PARAMETERS, locked), (DH_PARAMETERS, broken)):
        making.begin("anna", parameters, store)
        await end_of(making, "anna")
        job = making.find("anna")
        problems.append(job.problem if job is not None else None)

    assert "openssl is missing" in str(problems[0])
    assert problems[1:] == ["there is no key", "the keys were not made (RuntimeError)"]


@pytest.mark.parametrize("ending", ["forget", "close"])
async def test_nothing_of_an_abandoned_job_is_stored(
    making: KeyMaking, stored: list[Mapping[str, str]], ending: str
) -> None:
    """The profile was removed, or the bridge ends."""

    async def store(members: Mapping[str, str]) -> None:
        stored.append(members)

    making.begin("anna", DH_PARAMETERS, store)
    job = making.find("anna")
    assert job is not None
    assert job.task is not None
    if ending == "forget":
        making.forget("anna")
    else:
        await with_timeout(making.close())
    await with_timeout(asyncio.gather(job.task, return_exceptions=True))

    assert (stored, making.find("anna"), job.task.cancelled()) == ([], None, True)
