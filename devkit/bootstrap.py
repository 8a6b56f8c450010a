"""Becomes an execution environment: ties itself to the process that started it, then turns into the real command.

Run as a program of its own, before anything is loaded, with what to become in its environment.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

REQUEST = "SWITCHBOARD_BOOTSTRAP"
PR_SET_PDEATHSIG = 1


def request(command: Sequence[str], directory: Path) -> dict[str, str]:
    """The variable that asks for `command` in `directory`, ending with the process that calls this."""
    return {REQUEST: json.dumps({"command": [*command], "directory": str(directory), "parent": os.getpid()})}


def main() -> None:
    """Never returns."""
    asked = json.loads(os.environ.pop(REQUEST))
    if sys.platform == "linux":
        # A process that is killed cannot end what it started, so the kernel is asked to.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != asked["parent"]:
            sys.exit("the process that started this one has gone")
    os.chdir(asked["directory"])
    os.execv(asked["command"][0], asked["command"])  # noqa: S606 - the caller's own command


if __name__ == "__main__":
    main()
