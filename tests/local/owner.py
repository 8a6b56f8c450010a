"""`switchboard` for somebody whose account is the emulator's: `python -m tests.local.owner STACK HOST ...`.

What the emulator's CloudFormation leaves out of a stack is made up for after every deployment, as `switchboard up` does.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from devkit import account, cli, facts, wiring


def main(stack: str, host: str, *command: str) -> int:
    """Run one command; `host` is the name that the stack's API goes by, and its port."""
    sam, endpoint = account.sam, os.environ["AWS_ENDPOINT_URL"]

    def completed(arguments: Sequence[str], log: Path | None = None) -> int:
        code = sam(arguments, log)
        if arguments[0] == "deploy" and not code:
            wiring.wire(stack, host.partition(":")[0], partial(facts.client, endpoint=endpoint))
        return code

    account.sam = completed
    return cli.main(command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
