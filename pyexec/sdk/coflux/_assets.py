"""Files that are kept and passed on."""

from __future__ import annotations

import fnmatch
import mimetypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

from coflux import _context

Entries: TypeAlias = "str | Path | Sequence[str | Path] | Asset | Mapping[str, str | Path | Asset | AssetEntry] | None"


class AssetMetadata(NamedTuple):
    """What is known of an asset without asking. name is None for one that has none; total_size is in bytes."""

    name: str | None
    total_count: int
    total_size: int


class AssetEntry(NamedTuple):
    """A file of an asset; path has forward slashes."""

    path: str
    blob_key: str
    size: int
    metadata: dict[str, Any]

    def restore(self, *, at: str | Path | None = None) -> Path:
        """Writes the file below the directory (by default the current one) and returns where it is."""
        return _restore([self], at)[self.path]


class Asset:
    """A set of files that does not change. asset[path] is one of its entries."""

    def __init__(self, asset_id: str, metadata: AssetMetadata) -> None:
        self._id = asset_id
        self._metadata = metadata
        self._entries: dict[str, AssetEntry] | None = None

    @property
    def id(self) -> str:
        return self._id

    @property
    def metadata(self) -> AssetMetadata:
        return self._metadata

    @property
    def entries(self) -> list[AssetEntry]:
        return list(self._fetched().values())

    def restore(self, *, match: str | None = None, at: str | Path | None = None) -> dict[str, Path]:
        """Writes the files (that match) below the directory; returns where each is."""
        return _restore([entry for entry in self.entries if _matches(entry.path, match)], at)

    def _fetched(self) -> dict[str, AssetEntry]:
        context = _context.current()
        if self._entries is None:
            found = context.ask("get_asset", {"asset_id": self._id})["entries"]
            self._entries = {path: AssetEntry(path, entry[0], entry[1], entry[2] or {}) for path, entry in found.items()}
        return self._entries

    def __getitem__(self, path: str) -> AssetEntry:
        return self._fetched()[path]

    def __contains__(self, path: object) -> bool:
        return path in self._fetched()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __reduce__(self) -> tuple[object, ...]:
        return Asset, (self._id, self._metadata)

    def __repr__(self) -> str:
        return f"<Asset {self._id} {self._metadata.name or ''}>".replace(" >", ">")


def asset(
    entries: Entries = None,
    *,
    at: str | Path | None = None,
    match: str | None = None,
    name: str | None = None,
) -> Asset:
    """Keeps files and returns the asset that names them.

    entries: None: all files below at (by default the working directory); a path or several, relative to at; an Asset; or a
    dict from the path in the asset to a path here, an Asset (its entries, below that path) or an AssetEntry. match: only
    those whose path in the asset fits the pattern (*, ? and [...]; * fits slashes too). name: shown with it.
    """
    context = _context.current()
    if at is not None and isinstance(entries, Mapping):
        raise ValueError("'at' has no meaning with a dict of entries: its paths are complete or relative to the current directory")
    files, reused = _collect(entries, Path.cwd() if at is None else Path(at), match)
    if not files and not reused:
        raise ValueError("No files found to create asset")
    kept: dict[str, list[Any]] = {path: [entry.blob_key, entry.size, entry.metadata] for path, entry in reused.items()}
    # The uploads are all under way before the first reply is awaited.
    uploads = {path: context.start("upload_blob", {"source_path": str(file.absolute())}) for path, file in files.items()}
    for path, number in uploads.items():
        kept[path] = [context.finish(number)["blob_key"], files[path].stat().st_size, _type(path)]
    params: dict[str, object] = {"paths": [], "entries": dict(sorted(kept.items()))}
    params["metadata"] = {} if name is None else {"name": name}
    made = context.ask("persist_asset", params)
    _, asset_id, named, count, size = made["reference"]
    return Asset(asset_id, AssetMetadata(named or None, count, size))


def _restore(entries: Sequence[AssetEntry], at: str | Path | None) -> dict[str, Path]:
    """Writes files below the directory; all of them are under way before the first is waited for."""
    context = _context.current()
    base = Path.cwd() if at is None else Path(at)
    targets = [Path(os.path.abspath(base / _checked(entry.path))) for entry in entries]
    numbers = [
        context.start("download_blob", {"blob_key": entry.blob_key, "target_path": str(target)})
        for entry, target in zip(entries, targets)
    ]
    for number in numbers:
        context.finish(number)
    return {entry.path: target for entry, target in zip(entries, targets)}


def _collect(
    entries: Entries, base: Path, match: str | None
) -> tuple[dict[str, Path], dict[str, AssetEntry]]:
    """Files to upload and entries to use again, by their path in the asset."""
    if isinstance(entries, Asset):
        return {}, {entry.path: entry for entry in entries.entries if _matches(entry.path, match)}
    if isinstance(entries, Mapping):
        return _collect_named(entries, match)
    if entries is None:
        found = (path for path in base.rglob("*") if path.is_file())
        inside = {path.relative_to(base).as_posix(): path for path in found}
        return {path: file for path, file in sorted(inside.items()) if _matches(path, match)}, {}
    if isinstance(entries, (str, Path)):
        entries = [entries]
        return {_inside(base, path): base / path for path in entries if (base / path).is_file()}, {}
    files: dict[str, Path] = {}
    for path in entries:
        if not (base / path).is_file():
            raise FileNotFoundError(f"{base / path} is not a file, so it cannot become part of an asset")
        files[_inside(base, path)] = base / path
    return files, {}


def _collect_named(entries: Mapping[str, Any], match: str | None) -> tuple[dict[str, Path], dict[str, AssetEntry]]:
    files: dict[str, Path] = {}
    reused: dict[str, AssetEntry] = {}
    for key, value in entries.items():
        if not _matches(key, match):
            continue
        path = _checked(key)
        if isinstance(value, Asset):
            for entry in value.entries:
                below = _checked(f"{path}/{entry.path}")
                reused[below] = entry._replace(path=below)
        elif isinstance(value, AssetEntry):
            reused[path] = value._replace(path=path)
        elif isinstance(value, (str, Path)):
            if not Path(value).is_file():
                raise FileNotFoundError(f"{Path(value).absolute()} is not a file, so it cannot become part of an asset")
            files[path] = Path(value)
        else:
            raise TypeError(f"an entry of an asset is a path, an Asset or an AssetEntry, not {value!r}")
    return files, reused


def _inside(base: Path, path: str | Path) -> str:
    """The path relative to the base; a file that lies elsewhere is known by its name."""
    relative = os.path.relpath(os.path.abspath(base / path), os.path.abspath(base))
    return Path(path).name if relative.startswith("..") else Path(relative).as_posix()


def _checked(path: str) -> str:
    """The path in its plain form; one that leads out of the asset is refused."""
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts or str(plain) == ".":
        raise ValueError(f"{path!r} is not a path in an asset: it must be relative and must not lead out of it")
    return str(plain)


def _matches(path: str, match: str | None) -> bool:
    return match is None or fnmatch.fnmatchcase(path, match)


def _type(path: str) -> dict[str, str]:
    guessed = mimetypes.guess_type(path)[0]
    return {} if guessed is None else {"type": guessed}
