"""Untrusted zip files: written reproducibly, byte for byte, and read without trust."""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pkubench.errors import BundleError, StorageError

SUFFIXES = (".json", ".jsonl", ".safetensors", ".onnx", ".npz")
"""What a bundle may hold: data only. Anything else, such as a pickle or a script, is refused."""

CODE = "code/"
"""Folder of the members that may be Python files: code that runs in a sandbox only."""

MANIFEST = "manifest.json"
"""The member that every bundle has."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@-]*(/[A-Za-z0-9][A-Za-z0-9._+=@-]*)*")
_ENCRYPTED = 0x1
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)
"""Exceptions of the standard library on damage; the last one on unknown methods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a bundle may be. Sizes are in bytes, after decompression."""

    member: int = 256 << 20
    total: int = 1 << 30
    members: int = 10_000


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of a member's content: its SHA-256 in hexadecimal, and its size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the digest of ``data``."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a zip whose bytes depend on ``members`` alone: sorted, with fixed times and modes.

    The file appears whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(partial, "w") as archive:
            for name in sorted(members):
                info = zipfile.ZipInfo(name, _EPOCH)
                info.create_system = 3  # Unix, on any system
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                # Weights are noise to deflate; records shrink to a tenth.
                text = name.endswith((".json", ".jsonl"))
                info.compress_type = zipfile.ZIP_DEFLATED if text else zipfile.ZIP_STORED
                archive.writestr(info, members[name], compresslevel=6)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


class Archive:
    """A zip that is checked before anything in it is read.

    Members are checked by name, kind and declared size when the archive is opened, and by actual
    size while they are read, so neither a forged header nor a zip bomb exceeds the limits.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        """Open ``path``.

        Raises:
            StorageError: there is no such file, or it cannot be read.
            BundleError: it is not a zip, or holds a member that is not acceptable.
        """
        self.path = path
        self.limits = limits or Limits()
        try:
            with path.open("rb") as file:
                self._infos = {info.filename: info for info in self._listing(file)}
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    @property
    def names(self) -> list[str]:
        """The members, sorted."""
        return sorted(self._infos)

    def read(self, name: str) -> bytes:
        """Return the content of a member.

        Raises:
            BundleError: it is missing, damaged, or larger than it says.
        """
        if name not in self._infos:
            raise BundleError(f"{self.path.name} has no {name}")
        info, parts, size = self._infos[name], [], 0
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as member:
                while chunk := member.read(_CHUNK):
                    size += len(chunk)
                    if size > info.file_size:
                        raise BundleError(f"{name} is larger than it says; it is refused")
                    parts.append(chunk)
        except _DAMAGED as error:
            raise BundleError(f"{name} in {self.path.name} is damaged: {error}") from error
        if size != info.file_size:
            raise BundleError(f"{name} in {self.path.name} is cut short; make the bundle again")
        return b"".join(parts)

    def _listing(self, file: IO[bytes]) -> list[zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except _DAMAGED as error:
            raise BundleError(
                f"{self.path} is not a zip file, or is cut short ({error}); make it again with "
                "`pkubench bundle`"
            ) from error
        if MANIFEST not in (info.filename for info in infos):
            raise BundleError(
                f"{self.path.name} is not a bundle (it has no {MANIFEST}); make one with "
                "`pkubench bundle`"
            )
        if len(infos) > self.limits.members:
            raise BundleError(
                f"{self.path.name} has {len(infos)} members; at most {self.limits.members} are read"
            )
        seen: set[str] = set()
        for info in infos:
            _check_member(info)
            # Two names that differ in case only are one file on some systems.
            if info.filename.lower() in seen:
                raise BundleError(f"{self.path.name} holds {info.filename} twice")
            seen.add(info.filename.lower())
            if info.file_size > self.limits.member:
                raise BundleError(
                    f"{info.filename} unpacks to {info.file_size} bytes; at most "
                    f"{self.limits.member} are read"
                )
        folders = {str(parent) for name in seen for parent in PurePosixPath(name).parents}
        if both := sorted(seen & folders):
            raise BundleError(f"{self.path.name} holds {both[0]} as a file and as a folder")
        total = sum(info.file_size for info in infos)
        if total > self.limits.total:
            raise BundleError(
                f"{self.path.name} unpacks to {total} bytes; at most {self.limits.total} are read"
            )
        return infos


def _check_member(info: zipfile.ZipInfo) -> None:
    # orig_filename is the name in the file: zipfile cuts names at a NUL byte.
    name = info.orig_filename
    if not _NAME.fullmatch(name) or len(name) > 240:
        raise BundleError(
            f"{name[:80]!r} is not an acceptable member name: relative paths of letters, digits "
            "and . _ + = @ - only, without .. and no folders of their own"
        )
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise BundleError(f"{name} is a link or a special file; a bundle holds plain files only")
    if info.flag_bits & _ENCRYPTED:
        raise BundleError(f"{name} is encrypted; make the bundle without a password")
    if not name.endswith(SUFFIXES) and not (name.startswith(CODE) and name.endswith(".py")):
        raise BundleError(
            f"{name} is of a kind that is never read from a submission; a bundle holds "
            f"{', '.join('*' + suffix for suffix in SUFFIXES)}, and {CODE}*.py"
        )
