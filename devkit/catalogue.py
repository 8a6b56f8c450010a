"""What the agent's tools are, written down beside its code, so that a function that runs none need not load them.

    python -m devkit.catalogue [--check]

`make build` and everything else that builds does this first. What it writes belongs to the code: commit it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from devkit import facts
from devkit.errors import UserError
from switchboard import shelf
from switchboard.shelf import Catalogue

FOLDER = facts.ROOT / "layers/agent/agent"
# In a process of its own: this one may have loaded the agent before it was edited. An agent that keeps its tools on no shelf
# has them loaded whenever anything is.
DESCRIBE = """
import json
from agent import agent
from switchboard.shelf import Shelf
tools = agent.tools.toolbox if isinstance(agent.tools, Shelf) else None
print(json.dumps(tools and [tools.after_call, tools.definitions()]))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write it, or say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail where it says something else")
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
    """Write what the tools are, where the file does not say it; `UserError` where the agent's code does not load."""
    wanted = described(folder)
    if wanted and shelf.read(str(folder / shelf.CATALOGUE)) != wanted:
        (folder / shelf.CATALOGUE).write_text(json.dumps(wanted._asdict(), indent=1) + "\n")


def current(folder: Path = FOLDER) -> bool:
    """Whether the file says what the tools are."""
    wanted = described(folder)
    return wanted is None or shelf.read(str(folder / shelf.CATALOGUE)) == wanted


def described(folder: Path = FOLDER) -> Catalogue | None:
    """What is to be written, or None where the agent has no use for it."""
    code = shelf.digest_of(str(folder))
    command = [sys.executable, "-c", DESCRIBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=facts.ROOT)  # noqa: S603 - our own words
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise UserError(f"the agent's code does not load: {reason}")
    if shelf.digest_of(str(folder)) != code:
        raise UserError("the agent's code was changed while it was read: run this again")
    told = json.loads(done.stdout.splitlines()[-1])
    if told is None:
        return None
    made = Catalogue("", *told)
    return made._replace(digest=shelf.proof(made, code))


if __name__ == "__main__":
    sys.exit(main())
