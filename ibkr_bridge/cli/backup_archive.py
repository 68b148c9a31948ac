"""The file that `backup` writes and `restore` reads: a ZIP of a fixed list of files, with a manifest of their digests.

A ZIP, since its list of files can be read without unpacking. An archive may come from anywhere, so only listed names
are unpacked, each to a path of our own and up to a limit of its size. Links and paths in the archive have no effect.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ibkr_bridge import VERSION

MANIFEST, FORMAT = "manifest.json", 1
JOURNAL, HISTORY = "main.orders.db", "bridge.history.db"
COOKIES, SETTINGS, NAMED_KEYS = "main.cookies.json", "settings.env", "keys.json"
MIB = 1024 * 1024
STATE_FILES: Mapping[str, int] = {
    JOURNAL: 4096 * MIB,  # a year of a busy account has some hundred MiB
    f"{JOURNAL}-last": 1024,
    HISTORY: 256 * MIB,  # 90 days, some ten MiB
    "main.penalty.json": MIB,
    "main.paces.json": MIB,
    "main.suppressed.json": MIB,
    "main.selected_account.json": MIB,
    "main.paused.json": MIB,
    NAMED_KEYS: MIB,
    COOKIES: MIB,
}
"""The files of a state directory that belong to a backup, and the most bytes that each may have."""
MAX_BYTES = {**STATE_FILES, SETTINGS: MIB, MANIFEST: MIB}
CHUNK_BYTES = MIB
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError),
    RuntimeError,  # an archive with a password, or JSON that is nested too deeply
)


class ArchiveError(Exception):
    """The archive cannot be used. The message says why, for people."""


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself."""

    created: str
    version: str
    digests: Mapping[str, str]
    """SHA-256 of each file, by name."""


def write_archive(path: Path, files: Mapping[str, Path], created: str) -> None:
    """Write an archive that only its owner can read. It appears complete or not at all.

    Raises:
        FileExistsError: there is a file of this name.
        OSError: it cannot be written.
    """
    if os.path.lexists(path):
        raise FileExistsError(17, "it exists already", str(path))
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            digests = {name: _digest(source) for name, source in files.items()}
            manifest = {"format": FORMAT, "created": created, "version": VERSION, "files": digests}
            archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
            for name, source in files.items():
                archive.write(source, name)
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(path: Path) -> Manifest:
    """What an archive holds, without unpacking it.

    Raises:
        ArchiveError: it is no archive of the bridge, or it has a file that does not belong there.
        OSError: it cannot be read.
    """
    return _open(path, lambda archive: _check_list(archive, _read_manifest(archive)))


def unpack(path: Path, directory: Path) -> Manifest:
    """Unpack an archive into an empty directory; each file is readable by its owner alone.

    Raises:
        ArchiveError: see `read_manifest`; or a file is too large, or differs from its digest.
        OSError: it cannot be read, or the directory cannot be written.
    """
    return _open(path, lambda archive: _unpack_all(archive, directory))


def _open(path: Path, use: Callable[[zipfile.ZipFile], Manifest]) -> Manifest:
    try:
        with zipfile.ZipFile(path) as archive:
            return use(archive)
    except DAMAGED as exc:
        raise ArchiveError(f"{path} is no backup of the bridge, or it is damaged") from exc
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        # A damaged offset leads to a place before the beginning of the file.
        raise ArchiveError(f"{path} is no backup of the bridge, or it is damaged") from exc


def _read_manifest(archive: zipfile.ZipFile) -> Manifest:
    with archive.open(MANIFEST) as file:
        members = json.loads(_read_limited(file, MAX_BYTES[MANIFEST], MANIFEST))
    if members["format"] != FORMAT:
        raise ArchiveError("the backup was written by a later version of the bridge: upgrade first")
    files = members["files"]
    if not all(isinstance(text, str) for text in (members["created"], members["version"], *files.values())):
        raise TypeError("the manifest has another form")
    return Manifest(members["created"], members["version"], files)


def _check_list(archive: zipfile.ZipFile, manifest: Manifest) -> Manifest:
    names = archive.namelist()
    if strangers := sorted({*names, *manifest.digests} - MAX_BYTES.keys()):
        raise ArchiveError(f"the archive has {len(strangers)} files that no backup has: it is not used")
    if sorted(names) != sorted([MANIFEST, *manifest.digests]):
        raise ArchiveError("the files of the archive are not those of its manifest")
    return manifest


def _unpack_all(archive: zipfile.ZipFile, directory: Path) -> Manifest:
    manifest = _check_list(archive, _read_manifest(archive))
    for name, digest in manifest.digests.items():
        with archive.open(name) as source:
            _copy_limited(source, directory / name, MAX_BYTES[name])
        if _digest(directory / name) != digest:
            raise ArchiveError(f"{name} is not what was backed up")
    return manifest


def _copy_limited(source: IO[bytes], target: Path, max_bytes: int) -> None:
    """The size that an archive states may be wrong, so what comes out of it is counted."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        total = 0
        while chunk := source.read(CHUNK_BYTES):
            total += len(chunk)
            if total > max_bytes:
                raise ArchiveError(f"{target.name} is larger than such a file can be")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _read_limited(source: IO[bytes], max_bytes: int, name: str) -> bytes:
    content = source.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ArchiveError(f"{name} is larger than such a file can be")
    return content
