"""An agent's tools, of which none is loaded before one is called.

Loading them takes longer than everything else that answers a call: pydantic alone is three times a bare handler's start.
What an assistant must say of its tools is therefore written down beside the agent's code (`catalogue.json`, by `make build`),
and believed as long as it is about this very code. Where it is not, the tools are loaded after all.
"""

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from switchboard.tools import Tool, Toolbox

CATALOGUE = "catalogue.json"


class Catalogue(NamedTuple):
    """What can be known of tools without them. `digest` is of that, and of the code that it is about."""

    digest: str
    after_call: dict[str, float]
    definitions: list[dict[str, Any]]


class Shelf:
    """The `Toolbox` called `tools` of a module, from the moment that one of them is needed.

    What the definitions are made of, values of an enum for example, must be in the module's package, its data files
    included, or in a library: a change elsewhere would not be noticed.
    """

    def __init__(self, module: str) -> None:
        self._package, dot, _ = module.partition(".")
        if not dot:
            raise TypeError(f"the tools are in a module of the agent's package, and {module} has none")
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
        folder = import_module(self._package).__path__[0]
        code = digest_of(folder)
        written = read(os.path.join(folder, CATALOGUE))  # noqa: PTH118 - pathlib costs more than all of this
        return written if written and written.digest == proof(written, code) else describe(self.toolbox, code)

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


def describe(toolbox: "Toolbox", code: str) -> Catalogue:
    """What is to be written down of these tools; `code` is `digest_of` what they are made of."""
    made = Catalogue("", toolbox.after_call, toolbox.definitions())
    return made._replace(digest=proof(made, code))


def proof(catalogue: Catalogue, code: str) -> str:
    """The digest that stands in a catalogue of this content about this code."""
    content = json.dumps([code, *catalogue[1:]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def read(path: str) -> Catalogue | None:
    """What was written down, or None where nothing was."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return Catalogue(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def digest_of(folder: str) -> str:
    """By which all is known that an agent's definitions are made of: its own files, our code, and pydantic's version."""
    made = hashlib.sha256()
    for path in (*_ours(), *_files(folder)):
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            made.update(hashlib.sha256(file.read()).digest())
    return made.hexdigest()


def _ours() -> Iterator[str]:
    here = os.path.dirname(__file__)  # noqa: PTH120 - as above
    yield from (os.path.join(here, name) for name in ("messages.py", "schemas.py", "tools.py"))  # noqa: PTH118 - as above
    pydantic = importlib.util.find_spec("pydantic")  # found, and not loaded
    if pydantic and pydantic.origin:
        yield os.path.join(os.path.dirname(pydantic.origin), "version.py")  # noqa: PTH118, PTH120 - as above


def _files(folder: str) -> Iterator[str]:
    """All but bytecode and the catalogue itself, in order. What a link points to counts, a link to nothing does not."""
    for top, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        paths = (os.path.join(top, name) for name in sorted(names) if name != CATALOGUE)  # noqa: PTH118 - as above
        yield from (path for path in paths if os.path.isfile(path))  # noqa: PTH113 - as above
