"""The functions as Lambda unpacks them: zipped by SAM's own code, so with its time stamps, which bytecode must survive."""

import importlib.util
import os
import subprocess
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from devkit import facts
from devkit.built import BUILD, Built, BuiltFunction

ZIPPED = """
import sys
from samcli.lib.package.utils import make_zip_with_lambda_permissions
for source, name in zip(sys.argv[1::2], sys.argv[2::2]):
    make_zip_with_lambda_permissions(name, source)
"""
UNCHECKED = 1  # the flags of bytecode that is used without a look at its source


class Artefact(NamedTuple):
    """One unpacked function. Sizes are bytes, of its own code and of its layers."""

    name: str
    handler: str
    timeout: int
    memory: int
    variables: dict[str, str]
    code: Path
    opt: Path
    zipped: int
    unpacked: int


class Artefacts:
    """Everything that `make build` built, unpacked below `folder`."""

    def __init__(self, folder: Path, build: Path = facts.ROOT / BUILD, sam: Path = facts.LOCAL / "sam") -> None:
        self._folder = folder
        self._sam = sam
        self._built = Built(build)
        self.functions = {name: self._built.function(name) for name in self._built.functions}
        sources = {source for function in self.functions.values() for source in (function.code, *function.layers)}
        self.zips = self._zip(sorted(sources))

    def unpack(self, name: str) -> Artefact:
        """One function, with its layers over each other as /opt."""
        function = self.functions[name]
        parts = (function.code, *function.layers)
        return Artefact(
            name=name,
            handler=function.handler,
            timeout=function.timeout,
            memory=function.memory,
            variables=function.variables | _logs(function),
            code=self._unpacked(f"task-{name}", [function.code]),
            opt=self._unpacked("opt-" + "-".join(layer.name for layer in function.layers), function.layers),
            zipped=sum(self.zips[part].stat().st_size for part in parts),
            unpacked=sum(unpacked_size(self.zips[part]) for part in parts),
        )

    def _zip(self, sources: Sequence[Path]) -> dict[Path, Path]:
        zips = {source: self._folder / f"{source.name}.zip" for source in sources}
        arguments = [str(part) for source, made in zips.items() for part in (source, made.with_suffix(""))]
        subprocess.run([self._sam / "bin/python", "-c", ZIPPED, *arguments], check=True, capture_output=True)
        return zips

    def _unpacked(self, name: str, sources: Sequence[Path]) -> Path:
        target = self._folder / name
        if not target.is_dir():
            target.mkdir()
            for source in sources:
                unzip(self.zips[source], target)
        return target


def _logs(function: BuiltFunction) -> dict[str, str]:
    return {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"} if function.json_logs else {}


def unzip(archive: Path, target: Path) -> None:
    """Unpack with the times that the archive names, which Python's own `extractall` forgets."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            path = Path(opened.extract(entry, target))
            moment = time.mktime((*entry.date_time, 0, 0, -1))
            os.utime(path, (moment, moment))


def unpacked_size(archive: Path) -> int:
    """Bytes that Lambda counts against its limit of 250 MB."""
    with zipfile.ZipFile(archive) as opened:
        return sum(entry.file_size for entry in opened.infolist())


def compiled(*folders: Path) -> tuple[int, int]:
    """How many modules there are, and how many of them have bytecode that is used whatever the times say."""
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    return len(sources), sum(1 for source in sources if _usable(source))


def _usable(source: Path) -> bool:
    path = Path(importlib.util.cache_from_source(str(source)))
    header = path.read_bytes()[:8] if path.exists() else b""
    return header[:4] == importlib.util.MAGIC_NUMBER and int.from_bytes(header[4:8], "little") == UNCHECKED


def sizes(zips: Iterator[Path]) -> int:
    """Bytes of several archives together."""
    return sum(path.stat().st_size for path in zips)
