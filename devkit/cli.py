"""The `switchboard` command: one table of commands, each in a module that is imported only when it runs."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from devkit.errors import UserError

# Name -> (module with `arguments(parser)` and `run(args) -> exit code`, what the command does).
COMMANDS = {
    "up": ("devkit.up", "start the whole backend on this machine and leave it running"),
    "down": ("devkit.down", "stop what `up` started"),
    "door": ("devkit.door", "open the local stack's API, and nothing else of it, to a tunnel"),
    "demo": ("devkit.demo", "play three whole phone calls and check what was promised"),
    "deploy": ("devkit.deploy", "put the whole backend into your AWS account, connected and checked"),
    "undeploy": ("devkit.undeploy", "take back what `deploy` did"),
    "canary": ("devkit.canary", "ask a deployed stack what it must answer, and what it must refuse"),
    "simulate": ("devkit.simulate", "play a call from a YAML script against the running stack"),
    "call": ("devkit.story", "tell the story of one call from the table"),
    "plan": ("devkit.plan", "show what `connect` would do at Vapi and Twilio"),
    "connect": ("devkit.connect", "make Vapi and Twilio send their calls to a stack"),
    "disconnect": ("devkit.disconnect", "put back what stood at Vapi and Twilio before"),
    "status": ("devkit.status", "tell how many calls are under way, and who waits"),
    "console": ("devkit.console", "give a person the address of the live console for a while"),
    "audit": ("devkit.audit", "list what people did to live calls on a day"),
    "dial": ("devkit.dial", "have the assistant call somebody"),
    "dlq": ("devkit.deadletters", "show what was given up, and send it back"),
    "curl": ("devkit.curl", "print a signed webhook request for the running stack"),
    "invoke": ("devkit.invoke", "run one built function on one event, without Docker"),
    "sign": ("devkit.sign", "sign event files again after an edit"),
    "secrets": ("devkit.secrets", "store, rotate and list the secrets of a stack"),
    "doctor": ("devkit.doctor", "say why a signature failed, and what to change"),
    "corpus": ("devkit.corpus", "play hostile requests at a server, and judge its answers"),
}
INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a `UserError` becomes one line on stderr and code 1."""
    parser = _parser()
    chosen = parser.parse_args(argv)
    module_name, summary = COMMANDS[chosen.command]
    module = importlib.import_module(module_name)
    command_parser = argparse.ArgumentParser(prog=f"{parser.prog} {chosen.command}", description=summary)
    module.arguments(command_parser)
    args = command_parser.parse_args(chosen.arguments)
    # A terminated command must clean up like an interrupted one: nothing may be left running.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(module.run(args))
    except UserError as error:
        sys.stderr.write(f"switchboard: {error}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="switchboard",
        description="Run and look after a Switchboard backend for voice agents.",
        epilog=f"commands:\n{table}\n\n`switchboard COMMAND --help` tells more about one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="arguments of the command")
    return parser


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
