"""`switchboard invoke`: one built function on one event, as `sam local invoke` runs it, without Docker."""

import argparse
import json
import sys
from pathlib import Path

from devkit import events, runtime


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("function", metavar="FUNCTION", help="logical id in template.yaml, such as VapiWebhookFunction")
    parser.add_argument("event", metavar="EVENT", type=Path, help="a file such as events/health/ok.json")
    parser.add_argument("-n", "--env-vars", metavar="FILE", type=Path, help="variables, in the format of `sam local`")


def run(args: argparse.Namespace) -> int:
    """Print the answer on stdout and the function's log on stderr; 1 if the function failed."""
    event = events.read(args.event)
    env = runtime.read_env(args.env_vars, args.function) if args.env_vars else {}
    with runtime.Function(args.function, env=env) as function:
        answer = function.invoke(event)
        sys.stderr.write(function.logs())
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    return int(isinstance(answer, dict) and "errorType" in answer)
