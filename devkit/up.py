"""`switchboard up`: the whole backend on this machine, left running."""

import argparse
import sys

from devkit import development
from devkit.stack import Stack


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--no-build", action="store_true", help="deploy what was built before")
    parser.add_argument(
        "--public-url", metavar="URL", default="", help="https:// and the host of a tunnel: what Twilio signs then"
    )
    parser.epilog = "Environment: SWITCHBOARD_PORT, the first of three ports (default 4566)."


def run(args: argparse.Namespace) -> int:
    """Start, or deploy again to what runs, and say how to use it."""
    stack = Stack(background=True, build=not args.no_build, public_url=args.public_url, progress=_say)
    stack.start()
    _say(summary(stack))
    return 0


def summary(stack: Stack) -> str:
    """Addresses, development secrets and what to try first."""
    facts = stack.facts
    base = f"http://{facts['host']}"
    secrets = "\n".join(f"  {name:<18} {value}" for name, value in development.SECRETS.items())
    return f"""
web page         {base}/
Vapi webhook     {base}/webhook/vapi
Twilio voice     {base}/voice/inbound
Twilio status    {base}/voice/status
Twilio fallback  {facts["function_urls"].get("VoiceFallbackFunction", "-")}
health           {base}/health
AWS APIs         {facts["api_url"]}  (region {facts["region"]}, keys test/test)
fake Vapi        {facts["vapi_url"]}
fake Twilio      {facts["twilio_url"]}  (account {development.TWILIO_ACCOUNT_SID})

Development secrets: public values that only this stack knows.
{secrets}

A signed webhook; a signature is good for 5 minutes, so print it when you need it:
  .venv/bin/switchboard curl | sh

Stop it with `make down`."""


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
