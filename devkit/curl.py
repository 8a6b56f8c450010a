"""`switchboard curl`: a signed webhook request for the running stack, as a command to look at or to run."""

import argparse
import json
import shlex
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from devkit import development, events, facts
from switchboard import signatures

PATH = "/webhook/vapi"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--event", metavar="FILE", type=Path, help="send the body of this event instead of a tool call")
    parser.epilog = "Run it with `switchboard curl | sh`; a signature is good for 5 minutes."


def run(args: argparse.Namespace) -> int:
    """Print the command."""
    running = facts.running()
    now = time.time()
    body = events.body(events.read(args.event)) if args.event else json.dumps(tool_call(now)).encode()
    sys.stdout.write(command(running["api_url"], running["host"], body, int(now)) + "\n")
    return 0


def command(api_url: str, host: str, body: bytes, timestamp: int) -> str:
    """The curl command that posts `body`, signed for `timestamp` (epoch seconds)."""
    headers = {"host": host, "content-type": "application/json"}
    headers |= signatures.sign(events.DEFAULT_SCHEME, body, development.VAPI_WEBHOOK_SECRET, timestamp=timestamp)
    parts = ["curl", "--silent", "--show-error", "--include"]
    for name, value in headers.items():
        parts += ["--header", f"{name}: {value}"]
    return shlex.join([*parts, "--data-binary", body.decode(), api_url + PATH])


def tool_call(now: float) -> dict[str, Any]:
    """A message with which the model asks for the caller's appointment."""
    call = {
        "id": str(uuid.uuid4()),
        "orgId": "00000000-0000-4000-8000-00000000000f",
        "type": "inboundPhoneCall",
        "customer": {"number": "+15550100001"},
    }
    asked = {"id": "call_curl", "type": "function", "function": {"name": "find_appointment", "arguments": {}}}
    return {
        "message": {
            "type": "tool-calls",
            "timestamp": int(now * 1000),
            "call": call,
            "toolCallList": [asked],
        }
    }
