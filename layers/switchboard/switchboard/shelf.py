"""An agent's tools, of which none is loaded before one is called.

Loading them takes longer than everything else that answers a call: pydantic alone is three times a bare handler's start.
What an assistant must say of its tools is therefore written down beside the agent's code (`catalogue.json`, by `make build`),
and believed as long as it is about this very code. Where it is not, the tools are loaded after all.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from switchboard.tools import Tool, Toolbox

CATALOGUE = "catalogue.json"


class Catalogue(NamedTuple):
    """What can be known of tools without them. `digest` says of which code."""

    digest: str
    after_call: dict[str, float]
    definitions: list[dict[str, Any]]


class Shelf:
    """The `Toolbox` called `tools` of the module of that name, from the moment that one of them is needed."""

    def __init__(self, module: str) -> None:
        self._module = module

    @cached_property
    def toolbox(self) -> "Toolbox":
        """The tools themselves, loaded."""
        box: Toolbox = import_module(self._module).tools
        return box

    def load(self) -> None:
        """Load them now, for a function that is there to run them."""
        _ = self.toolbox

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is known of them, from the file if that is about this code."""
        folder = sys.modules[self._module.partition(".")[0]].__path__[0]
        digest = digest_of(folder)
        written = read(os.path.join(folder, CATALOGUE))  # noqa: PTH118 - pathlib costs more than all of this
        return written if written and written.digest == digest else describe(self.toolbox, digest)

    @property
    def after_call(self) -> dict[str, float]:
        """The tools that wait for the end of the call, each with the seconds that it then has."""
        return self.catalogue.after_call

    def definitions(self, server: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Vapi's function tools, in order. `server` says where their calls go; default: the assistant's."""
        own = {"server": dict(server)} if server else {}
        return [definition | own for definition in self.catalogue.definitions]

    def get(self, name: str) -> "Tool | None":
        """The tool of that name, or None: the model invents names."""
        return self.toolbox.get(name)

    def __iter__(self) -> "Iterator[Tool]":
        return iter(self.toolbox)

    def __len__(self) -> int:
        return len(self.catalogue.definitions)


def describe(toolbox: "Toolbox", digest: str) -> Catalogue:
    """What is to be written down of these tools."""
    return Catalogue(digest, toolbox.after_call, toolbox.definitions())


def read(path: str) -> Catalogue | None:
    """What was written down, or None where nothing was."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return Catalogue(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def digest_of(folder: str) -> str:
    """By which the agent's code is known, and what makes its definitions."""
    made = hashlib.sha256()
    here = os.path.dirname(__file__)  # noqa: PTH120 - as above
    sources = [os.path.join(here, name) for name in ("schemas.py", "tools.py")]  # noqa: PTH118 - as above
    for top, folders, names in os.walk(folder):
        folders.sort()
        sources += [os.path.join(top, name) for name in sorted(names) if name.endswith(".py")]  # noqa: PTH118 - as above
    for path in sources:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            made.update(hashlib.sha256(file.read()).digest())
    return made.hexdigest()
