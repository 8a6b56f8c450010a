"""Becomes one execution environment of the emulator: ties itself to its parent, then turns into the real command.

The emulator runs this as the `bootstrap` of a function, with the command to become in the environment.
"""

import ctypes
import json
import os
import signal
import sys

COMMAND = "SWITCHBOARD_COMMAND"  # the command line to become, as a JSON list
PARENT = "SWITCHBOARD_PARENT"  # id of the process to die with
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Never returns."""
    command = json.loads(os.environ.pop(COMMAND))
    parent = int(os.environ.pop(PARENT))
    if sys.platform == "linux":
        # An emulator that is killed cannot end its workers, so the kernel is asked to.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the emulator has gone")
    # Where the function's code is: the bootstrap lies beside it. A sandbox has a place of its own for it.
    os.chdir("task")
    os.execv(command[0], command)  # noqa: S606 - built by devkit.emulator


if __name__ == "__main__":
    main()
