"""What the agent's tools are, written down beside its code, so that a function that runs none need not load them.

    python -m devkit.catalogue [--check]

`make build` and everything else that builds does this first. What it writes belongs to the code: commit it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from devkit import facts
from devkit.errors import UserError
from switchboard import shelf
from switchboard.shelf import Shelf

FOLDER = facts.ROOT / "layers/agent/agent"


def main(argv: Sequence[str] | None = None) -> int:
    """Write it, or say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail where it is about other code")
    given = parser.parse_args(argv)
    try:
        if not given.check:
            write()
        elif not current():
            raise UserError(f"{shelf.CATALOGUE} is about other tools than the agent's: run `make build`, and commit it")
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write(folder: Path = FOLDER) -> None:
    """Write what the tools are, where that is not written yet; `UserError` where the agent's code does not load."""
    if current(folder):
        return
    try:
        from agent import agent

        # An agent that keeps its tools on no shelf has them loaded whenever anything is.
        made = (
            shelf.describe(agent.tools.toolbox, shelf.digest_of(str(folder)))
            if isinstance(agent.tools, Shelf)
            else None
        )
    except Exception as error:
        raise UserError(f"the agent's code does not load: {type(error).__name__}: {error}") from error
    if made:
        (folder / shelf.CATALOGUE).write_text(json.dumps(made._asdict(), indent=1) + "\n")


def current(folder: Path = FOLDER) -> bool:
    """Whether what is written is about this very code."""
    written = shelf.read(str(folder / shelf.CATALOGUE))
    return written is not None and written.digest == shelf.digest_of(str(folder))


if __name__ == "__main__":
    sys.exit(main())
