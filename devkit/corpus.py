"""`switchboard corpus`: play the hostile requests of `tests/corpus` at a server, and judge every answer."""

import argparse
import binascii
import os
import sys
import time
from collections import Counter

import httpx

from devkit import development, facts
from devkit.corpus_requests import NAMES, Keys, Request, requests
from devkit.errors import UserError
from switchboard.errors import SettingsError
from switchboard.signatures import PRESETS

TIMEOUT = 30.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("corpus", nargs="*", metavar="CORPUS", help=f"which ones: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--base-url", metavar="URL", help="another server than the running local stack")
    parser.add_argument(
        "--mine", action="store_true", help="the server is mine: needed for one that is not on loopback"
    )
    parser.add_argument("--scheme", choices=PRESETS, default="vapi-hmac", help="how Vapi signs (default vapi-hmac)")
    parser.add_argument("--public-url", metavar="URL", help="the URL that Twilio signs (default: --base-url)")
    parser.epilog = (
        "Genuine requests of a corpus are signed with VAPI_WEBHOOK_SECRET and TWILIO_AUTH_TOKEN of the environment, and"
        " carry TWILIO_ACCOUNT_SID; without them, with the development secrets of the local stack. A server must allow"
        " 300 seconds at most. No call is made; what is stored is a session and a phone leg, which expire."
    )


def run(args: argparse.Namespace) -> int:
    """Play; 1 if any answer was wrong."""
    if unknown := set(args.corpus) - set(NAMES):
        raise UserError(f"no such corpus: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    base_url, host, keys = target(args)
    wrong = 0
    with httpx.Client(base_url=base_url, timeout=TIMEOUT, trust_env=False) as client:
        for name in args.corpus or NAMES:
            wrong += _play(client, host, name, keys)
    sys.stdout.write("Every answer is as it should be.\n" if not wrong else f"{wrong} answers are wrong.\n")
    return 1 if wrong else 0


def target(args: argparse.Namespace) -> tuple[str, str, Keys]:
    """Where to play: its URL, the Host header, and what the server knows."""
    if args.base_url and not args.mine:
        try:
            facts.require_loopback(args.base_url)
        except UserError as error:
            raise UserError(f"{args.base_url} is not on this machine; say --mine if the server is yours") from error
    env = os.environ
    keys = Keys(
        secret=env.get("VAPI_WEBHOOK_SECRET", development.VAPI_WEBHOOK_SECRET),
        token=env.get("TWILIO_AUTH_TOKEN", development.TWILIO_AUTH_TOKEN),
        account_sid=env.get("TWILIO_ACCOUNT_SID", development.TWILIO_ACCOUNT_SID),
        scheme=PRESETS[args.scheme],
    )
    if args.base_url:
        public = (args.public_url or args.base_url).rstrip("/")
        return args.base_url, httpx.URL(args.base_url).netloc.decode(), keys._replace(base_url=public)
    running = facts.running()
    return running["api_url"], running["host"], keys._replace(base_url=f"http://{running['host']}")


def _play(client: httpx.Client, host: str, name: str, keys: Keys) -> int:
    """Send one corpus, say how it went, and return how many answers were wrong."""
    told: Counter[str] = Counter()
    wrong = 0
    try:
        for request in requests(name, keys, time.time):
            if not request.sendable:
                told["not sent"] += 1
                continue
            status, body = _send(client, host, request)
            told[str(status or "cut off")] += 1
            if status and (fault := request.fault(status, body)):
                wrong += 1
                sys.stdout.write(f"  ✗ {name}: {request.name}: {fault}\n")
    except (SettingsError, binascii.Error) as error:
        raise UserError(f"cannot sign: {error}") from error
    except httpx.TransportError as error:
        raise UserError(f"the server does not answer ({type(error).__name__})") from error
    summary = ", ".join(f"{what}: {count}" for what, count in sorted(told.items()))
    sys.stdout.write(f"{name:<13}{told.total():>5}  {summary}; {wrong} wrong\n")
    return wrong


def _send(client: httpx.Client, host: str, request: Request) -> tuple[int, bytes]:
    """Status and body of the answer; status 0 where a server hangs up on a body that is too large for it."""
    url = request.path + (f"?{request.query}" if request.query else "")
    try:
        answer = client.post(url, content=request.body, headers=[("host", host), *request.headers])
    except httpx.TransportError:
        if request.status == 413:
            return 0, b""
        raise
    return answer.status_code, answer.content
