"""The code blocks of the documents, so that tests can run them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "events/README.md", ROOT / "devkit/calls/README.md"]
)
MARK = "Needs an account:"  # the line before a block that no test can run
_BLOCK = re.compile(rf"(^{MARK}\n\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)\)")


class Block(NamedTuple):
    """One fenced block: the document, the language after the fence, the text, and whether it needs an account."""

    document: Path
    language: str
    text: str
    marked: bool = False


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document."""
    found = _BLOCK.findall(document.read_text())
    return [Block(document, language, text, bool(mark)) for mark, language, text in found]


def links(document: Path) -> list[str]:
    """The link targets of a document that are files."""
    return [target for target in _LINK.findall(document.read_text()) if not target.startswith("http")]


def commands(*, marked: bool = False) -> list[str]:
    """Every shell command in the documents, once, in order; with `marked` those that need an account, else the others."""
    found = (
        line
        for path in DOCUMENTS
        for block in blocks(path)
        if block.language == "sh" and block.marked is marked
        for line in block.text.splitlines()
    )
    return list(dict.fromkeys(line for line in found if line))
