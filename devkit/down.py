"""`switchboard down`: stop what `switchboard up` left running."""

import argparse
import sys

from devkit.stack import Stack


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.epilog = "Environment: SWITCHBOARD_PORT, as it was given to `up`."


def run(_args: argparse.Namespace) -> int:
    """Stop it; nothing running is fine too."""
    stopped = Stack(background=True).stop()
    sys.stdout.write("stopped\n" if stopped else "nothing was running\n")
    return 0
