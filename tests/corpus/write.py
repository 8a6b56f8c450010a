"""Write the corpora as data, from the scripts beside this one: `python -m tests.corpus.write`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.corpus import bodies, control_urls, forms, signatures, tools, twiml

FOLDER = Path(__file__).parent
SCRIPTS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "signatures": signatures.entries,
    "bodies": bodies.entries,
    "forms": forms.entries,
    "control_urls": control_urls.entries,
    "twiml": twiml.entries,
    "tools": tools.entries,
}


def lines(name: str) -> str:
    """One corpus as JSON Lines. What is invisible is escaped, so that an editor can show every character."""
    return "".join(json.dumps(entry) + "\n" for entry in SCRIPTS[name]())


if __name__ == "__main__":
    for corpus in SCRIPTS:
        (FOLDER / f"{corpus}.jsonl").write_text(lines(corpus))
