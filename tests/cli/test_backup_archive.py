"""The file of a backup: what is written can be read, and what somebody else made does no harm."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibkr_bridge.cli import backup_archive
from ibkr_bridge.cli.backup_archive import MANIFEST, ArchiveError, read_manifest, unpack, write_archive

PAUSE = "main.paused.json"


def archive_with(path: Path, files: dict[str, bytes], digests: dict[str, str] | None = None) -> Path:
    """An archive that anybody could have made."""
    named = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = {"format": 1, "created": "now", "version": "0", "files": digests if digests is not None else named}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps(manifest))
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where an archive is unpacked."""
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_what_is_written_can_be_read(tmp_path: Path, target: Path) -> None:
    """And only its owner can read it."""
    (tmp_path / "a").write_text("{}")
    write_archive(tmp_path / "b.zip", {PAUSE: tmp_path / "a"}, "2026-01-01T00:00:00+00:00")

    manifest = unpack(tmp_path / "b.zip", target)

    assert manifest == read_manifest(tmp_path / "b.zip")
    assert list(manifest.digests) == [PAUSE]
    assert (target / PAUSE).read_text() == "{}"
    assert {(tmp_path / "b.zip").stat().st_mode & 0o777, (target / PAUSE).stat().st_mode & 0o777} == {0o600}


def test_no_file_is_replaced(tmp_path: Path) -> None:
    """It may be the only good backup."""
    (tmp_path / "b.zip").write_text("precious")

    with pytest.raises(FileExistsError):
        write_archive(tmp_path / "b.zip", {}, "now")

    assert (tmp_path / "b.zip").read_text() == "precious"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "evil", "main.paused.json/x", "..\\evil", "MAIN.PAUSED.JSON"])
def test_other_names_are_refused(tmp_path: Path, target: Path, name: str) -> None:
    """A path could lead out of the directory."""
    archive = archive_with(tmp_path / "b.zip", {name: b"{}"})

    with pytest.raises(ArchiveError):
        unpack(archive, target)

    assert [*target.iterdir()] == []
    assert not (tmp_path / "evil").exists()


def test_a_link_becomes_no_link(tmp_path: Path, target: Path) -> None:
    """The mode that an archive states is not used."""
    info = zipfile.ZipInfo(PAUSE)
    info.external_attr = 0o120777 << 16
    content = b"/etc/passwd"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        files = {PAUSE: hashlib.sha256(content).hexdigest()}
        archive.writestr(MANIFEST, json.dumps({"format": 1, "created": "", "version": "", "files": files}))
        archive.writestr(info, content)

    unpack(tmp_path / "b.zip", target)

    assert not (target / PAUSE).is_symlink()
    assert (target / PAUSE).read_bytes() == content


def test_a_file_that_grows_without_end_is_stopped(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes can become gigabytes, and the size that the archive states may be wrong."""
    archive = archive_with(tmp_path / "b.zip", {PAUSE: bytes(5 * 1024 * 1024)})
    monkeypatch.setattr(backup_archive, "CHUNK_BYTES", 64 * 1024)

    with pytest.raises(ArchiveError, match="larger than such a file can be"):
        unpack(archive, target)

    assert (target / PAUSE).stat().st_size <= 1024 * 1024


def test_a_changed_file_is_noticed(tmp_path: Path, target: Path) -> None:
    """The manifest has the digest of each."""
    archive = archive_with(tmp_path / "b.zip", {PAUSE: b"{}"}, {PAUSE: "0" * 64})

    with pytest.raises(ArchiveError, match="is not what was backed up"):
        unpack(archive, target)


@pytest.mark.parametrize("digests", [{}, {PAUSE: "0", "keys.json": "0"}])
def test_the_manifest_names_each_file(tmp_path: Path, digests: dict[str, str]) -> None:
    """A file that it does not name was added by somebody."""
    with pytest.raises(ArchiveError, match="not those of its manifest"):
        read_manifest(archive_with(tmp_path / "b.zip", {PAUSE: b"{}"}, digests))


@pytest.mark.parametrize(
    "manifest", [[], 3, None, {}, {"format": 2}, {"format": 1, "created": 1, "version": "", "files": {}}, {"format": 1}]
)
def test_a_strange_manifest_is_refused(tmp_path: Path, manifest: object) -> None:
    """Whatever it is, the error is one line."""
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(MANIFEST, json.dumps(manifest))

    with pytest.raises(ArchiveError):
        read_manifest(tmp_path / "b.zip")


@given(st.binary(max_size=300), st.integers(0, 400))
@example(b"\x00\x01", 348)
def test_no_bytes_confuse_the_reader(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    """An archive may be damaged anywhere."""
    path = tmp_path_factory.mktemp("junk") / "b.zip"
    good = io.BytesIO(archive_with(path, {PAUSE: b"{}"}).read_bytes()).getvalue()
    for content in (junk, good[:at] + junk + good[at + len(junk) :]):
        path.write_bytes(content)
        try:
            unpack(path, path.parent)
        except ArchiveError as exc:
            assert str(exc)
        (path.parent / PAUSE).unlink(missing_ok=True)
