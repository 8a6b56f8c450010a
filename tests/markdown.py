"""The code blocks of the documents, so that tests can run them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "events/README.md", ROOT / "devkit/calls/README.md"]
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)\)")


class Block(NamedTuple):
    """One fenced block: the document, the language after the fence, the text."""

    document: Path
    language: str
    text: str


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document."""
    return [Block(document, language, text) for language, text in _BLOCK.findall(document.read_text())]


def links(document: Path) -> list[str]:
    """The link targets of a document that are files."""
    return [target for target in _LINK.findall(document.read_text()) if not target.startswith("http")]


def commands() -> list[str]:
    """Every shell command in the documents, once, in order."""
    found = (
        line
        for path in DOCUMENTS
        for block in blocks(path)
        if block.language == "sh"
        for line in block.text.splitlines()
    )
    return list(dict.fromkeys(line for line in found if line))
