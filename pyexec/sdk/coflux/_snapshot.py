"""Keeps the code of the user's modules as it was when it was last good.

discover records what it imports from the search path into a directory; execute imports from there what was recorded and
everything else as usual. File names, and so __file__ and tracebacks, stay those of the real files.

    <n>.code    marshalled code object
    <n>.py      source text
    index.json  {"version": text, "modules": {name: [file, is_package, n, time]}}

The time is that of the file's last change, before it was read: one that is touched counts as changed, and a change that
comes while it is imported belongs to the next import.
"""

from __future__ import annotations

import marshal
import os
import sys

# What importlib.machinery re-exports; importing that would cost every process half a millisecond.
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import PathFinder, SourceFileLoader

from coflux import _json

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

_VERSION = f"{sys.implementation.cache_tag} {sys.hexversion:x}"

_installed: "Finder | None" = None


class Recorder:
    """A finder before all others that notes what comes from the roots."""

    def __init__(self, directory: str, roots: list[str]) -> None:
        self.directory = directory
        self.roots = tuple(os.path.join(root, "") for root in roots)
        self.modules: dict[str, list[Any]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or type(spec.loader) is not SourceFileLoader:
            return spec
        if self.covers(spec.origin):
            loader = _RecordingLoader(name, spec.origin)
            loader.recorder = self
            spec.loader = loader
        return spec

    def covers(self, file: str) -> bool:
        inside = file.startswith(self.roots)
        return inside and os.sep + "site-packages" + os.sep not in file and os.sep + "dist-packages" + os.sep not in file

    def record(self, name: str, file: str, package: bool, source: bytes, code: CodeType, time: int) -> None:
        number = len(self.modules)
        for suffix, data in ((".code", marshal.dumps(code)), (".py", source)):
            with open(os.path.join(self.directory, f"{number}{suffix}"), "wb") as out:
                out.write(data)
        self.modules[name] = [file, package, number, time]

    def finish(self) -> None:
        self._record_neighbours()
        with open(os.path.join(self.directory, "index.json"), "wb") as out:
            out.write(_json.dumps({"version": _VERSION, "modules": self.modules}))

    def _record_neighbours(self) -> None:
        """Modules in the same packages as the imported ones: functions may import them when they run."""
        for name, (file, package, *_) in list(self.modules.items()):
            if not package and "." not in name:
                continue  # the search path itself may hold anything
            prefix = name if package else name.rpartition(".")[0]
            directory = os.path.dirname(file)
            for entry in sorted(os.listdir(directory)):
                stem, suffix = os.path.splitext(entry)
                if suffix == ".py" and stem.isidentifier() and stem != "__init__" and f"{prefix}.{stem}" not in self.modules:
                    self._record_file(f"{prefix}.{stem}", os.path.join(directory, entry))

    def _record_file(self, name: str, file: str) -> None:
        try:
            with open(file, "rb") as data:
                time = os.fstat(data.fileno()).st_mtime_ns
                source = data.read()
            self.record(name, file, False, source, compile(source, file, "exec", dont_inherit=True), time)
        except (OSError, SyntaxError, ValueError):
            pass  # it is read as it is when it is imported


class _RecordingLoader(SourceFileLoader):
    recorder: Recorder

    def get_code(self, fullname: str) -> CodeType:
        time = os.stat(self.path).st_mtime_ns
        source = self.get_data(self.path)
        code = self.source_to_code(source, self.path)
        self.recorder.record(fullname, self.path, self.is_package(fullname), source, code, time)
        return code


class Finder:
    def __init__(self, directory: str) -> None:
        self.directory = directory
        with open(os.path.join(directory, "index.json"), "rb") as file:
            index = _json.loads(file.read())
        self.modules = index["modules"] if index["version"] == _VERSION else {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        entry = self.modules.get(name)
        if entry is None:
            return None
        file, package, number, _ = entry
        loader = _SnapshotLoader(name, file)
        loader.stem = os.path.join(self.directory, str(number))
        spec = ModuleSpec(name, loader, origin=file, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [os.path.dirname(file)]
        return spec

    def source(self, file: str) -> str | None:
        for path, _, number, _ in self.modules.values():
            if path == file:
                return _text(os.path.join(self.directory, f"{number}.py"))
        return None


class _SnapshotLoader(SourceFileLoader):
    stem: str

    def get_code(self, fullname: str) -> CodeType:
        with open(self.stem + ".code", "rb") as file:
            code: CodeType = marshal.loads(file.read())
            return code

    def get_source(self, fullname: str) -> str:
        return _text(self.stem + ".py")


def _text(path: str) -> str:
    from importlib.util import decode_source  # here, because importing it takes some milliseconds

    with open(path, "rb") as file:
        return decode_source(file.read())


def record(directory: str, roots: list[str]) -> Recorder:
    recorder = Recorder(directory, roots)
    sys.meta_path.insert(0, recorder)
    return recorder


def install(directory: str) -> None:
    global _installed
    _installed = Finder(directory)
    sys.meta_path.insert(0, _installed)


def serves(directory: str) -> bool:
    return _installed is not None and _installed.directory == directory


def prime_lines(files: set[str]) -> None:
    """Makes tracebacks quote the recorded source: the file may have changed since."""
    if _installed is None:
        return
    import linecache

    for file in files:
        text = _installed.source(file)
        if text is not None:
            # Without a modification time the entry is never compared with the file.
            linecache.cache[file] = (len(text), None, text.splitlines(True), file)
