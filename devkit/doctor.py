"""`switchboard doctor`: why a signature failed, in one sentence. Never shows a secret, a signature or a body.

It is told how a stack checks (from the stack itself, or by options), reads one captured request, and says which mistake
makes the signature come out as it did; or it reads the newest refusal in the stack's logs and says what that means.
"""

import argparse
import getpass
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from devkit import captured, cloudformation, development, refusals, secrets, target, twilio_doctor, vapi_doctor
from devkit.captured import Captured
from devkit.diagnosis import Diagnosis, Expected, Stored
from devkit.errors import UserError
from devkit.target import Target
from switchboard.errors import MessageRefused, SettingsError
from switchboard.secrets import PUBLIC_BASE_URL
from switchboard.signatures import PRESETS, Scheme, choose

DEFAULTS = {"SignatureScheme": "vapi-hmac", "SignatureOverrides": "", "SignatureTolerance": "300"}
ROOT = "/switchboard/"  # all stacks' parameters


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="Lambda event, raw HTTP request, or {url, headers, body}; - is the input",
    )
    parser.add_argument("--last", action="store_true", help="explain the newest refusal in the logs of the stack")
    target.arguments(parser)
    parser.add_argument(
        "--secret-stdin",
        action="store_true",
        help="check with a secret that is read from standard input, or asked for at a terminal, instead of the stack's",
    )
    parser.add_argument("--scheme", choices=PRESETS, help="default: the stack's, else vapi-hmac")
    parser.add_argument("--overrides", metavar="JSON", help="parts of the scheme that differ; default: the stack's")
    parser.add_argument("--public-url", metavar="URL", type=_url, help="the URL that is set at Twilio, or its origin")
    parser.add_argument(
        "--now", metavar="TIME", type=_moment, help="when the request arrived: epoch seconds, or ISO 8601"
    )
    parser.add_argument("--skew-ok", action="store_true", help="do not judge how old the request is")
    parser.epilog = "Exit code 0: it verifies (or nothing was refused); 1: it does not, and the sentence says why."


def run(args: argparse.Namespace) -> int:
    """Say one sentence."""
    if args.last == bool(args.file):
        raise UserError("give a captured request (FILE, or - for standard input), or --last")
    with target.explained():
        return _last(target.chosen(args)) if args.last else _judge(args)


def _last(chosen: Target) -> int:
    try:
        refusal = refusals.newest(chosen.client("logs"), chosen.stack, time.time())
    except LookupError:
        raise UserError(f"stack {chosen.stack!r} has no logs here: see --stack-name and --region") from None
    if refusal:
        sys.stdout.write(f"{refusal}\n")
        return 1
    level = cloudformation.read(chosen).parameters.get("LogLevel", "INFO")
    silent = "" if level == "INFO" else f"; with LogLevel={level} it would not be there, only in the metrics"
    sys.stdout.write(f"no refusal is in the logs of {chosen.stack}{silent}\n")
    return 0


def _judge(args: argparse.Namespace) -> int:
    if args.file == "-" and args.secret_stdin and not sys.stdin.isatty():
        raise UserError("standard input cannot be both the request and the secret: give the request as a file")
    try:
        request = captured.read(_bytes(args.file))
    except MessageRefused as refused:
        row = refusals.REASONS[refused.reason]
        sys.stdout.write(
            f"The request is refused before its signature is looked at, because {row.why}: {row.change}.\n"
        )
        return 1
    diagnosis = _diagnose(args, request)
    sys.stdout.write(f"{diagnosis.sentence}\n")
    return 0 if diagnosis.verified else 1


def _bytes(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error


def _diagnose(args: argparse.Namespace, request: Captured) -> Diagnosis:
    is_twilio = twilio_doctor.HEADER in request.fields or "/voice/" in f"{request.path}/"
    name = "twilio-auth-token" if is_twilio else "vapi-webhook"
    # With a secret of one's own and no stack named, nothing is asked of AWS.
    asked = target.chosen(args) if args.local or args.stack_name or not args.secret_stdin else None
    expected = _expected(args, request, name, asked)

    def examine(known: Expected) -> Diagnosis:
        if is_twilio:
            return twilio_doctor.examine(request, known)
        return vapi_doctor.examine(request, known, judge_age=not args.skew_ok)

    diagnosis = examine(expected)
    if {"wrong_secret", "wrong_token"} & {*diagnosis.mistakes}:
        # Only now is it worth reading what else there is.
        mine = {one.value for one in expected.secrets}
        others = tuple(one for one in _others(asked, name) if one.value not in mine)
        diagnosis = examine(expected._replace(secrets=(*expected.secrets, *others)))
    return diagnosis


def _expected(args: argparse.Namespace, request: Captured, name: str, asked: Target | None) -> Expected:
    given = {**DEFAULTS, **(cloudformation.read(asked).parameters if asked else {})}
    now = args.now or request.arrived or time.time()
    values = _values(asked, (name, PUBLIC_BASE_URL)) if asked else {}
    text = values.get(name, "")
    stored = tuple(_stored(text, now))
    if args.secret_stdin:
        stored, text = (Stored("that was given", _typed(name)),), ""
    base = values.get(PUBLIC_BASE_URL, "") if asked else _origin(args.public_url or "", request)
    if name == "twilio-auth-token" and not base:
        raise UserError("the URL that Twilio signs is not known: give --public-url")
    return Expected(
        scheme=_scheme(args, given),
        tolerance=int(given["SignatureTolerance"]),
        now=now,
        arrival_known=bool(args.now or request.arrived),
        secrets=stored,
        unreadable=bool(text.strip("[] \n")) and not stored,
        base_url=base,
        signed_urls=(args.public_url,) if asked and args.public_url else (),
        account_sids=_names(given, "TwilioAccountSids"),
        org_ids=_names(given, "AllowedOrgIds"),
        assistant_ids=_names(given, "AllowedAssistantIds"),
    )


def _scheme(args: argparse.Namespace, given: Mapping[str, str]) -> Scheme:
    # Overrides belong to the scheme that they were made for.
    kept = "" if args.scheme and args.scheme != given["SignatureScheme"] else given["SignatureOverrides"]
    text = args.overrides if args.overrides is not None else kept
    try:
        return choose(args.scheme or given["SignatureScheme"], json.loads(text or "{}"))
    except (ValueError, TypeError, AttributeError):
        raise UserError("the signature overrides are no JSON object, so no function starts with them") from None
    except SettingsError as error:
        raise UserError(f"no function starts with this signature scheme: {error}") from None


def _names(given: Mapping[str, str], parameter: str) -> frozenset[str]:
    return frozenset(part.strip() for part in given.get(parameter, "").split(",") if part.strip())


def _origin(url: str, request: Captured) -> str:
    """What comes before the request's path in the URL that is set at Twilio."""
    if url:
        return url.partition("?")[0].rstrip("/").removesuffix(request.path.rstrip("/"))
    return f"{request.url_scheme or 'https'}://{request.host}" if request.host else ""


def _typed(name: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"{name} (hidden): ")
    # A pipe adds one line break; any other white space may be the mistake.
    return sys.stdin.read().removesuffix("\n")


def _values(chosen: Target, names: tuple[str, ...]) -> dict[str, str]:
    """SSM parameters of the stack, as they are stored."""
    paths = [secrets.path(chosen.stack, name) for name in names]
    found = chosen.client("ssm").get_parameters(Names=paths, WithDecryption=True)["Parameters"]
    return {one["Name"].rpartition("/")[2]: one["Value"] for one in found}


def _stored(text: str, now: float, where: str = "") -> Iterator[Stored]:
    for entry in secrets.parse(text):
        yield Stored(entry["id"], entry["secret"], entry.get("not_after", now + 1) <= now, where)


def _others(chosen: Target | None, name: str) -> Iterator[Stored]:
    """Secrets that may have been used by mistake: of other parameters, of other stacks, of the stack on a laptop."""
    yield Stored("development", development.SECRETS[name], where="the stack of `switchboard up`")
    if chosen is None:
        return
    # Whoever may not read another stack's secrets goes without.
    with suppress(ClientError, BotoCoreError):
        pages = chosen.client("ssm").get_paginator("get_parameters_by_path")
        for page in pages.paginate(Path=ROOT, Recursive=True, WithDecryption=True):
            for one in page["Parameters"]:
                stack, _, parameter = one["Name"].removeprefix(ROOT).partition("/")
                if stack == chosen.stack and parameter in secrets.NAMES and parameter != name:
                    yield from _stored(one["Value"], 0, parameter)
                elif stack != chosen.stack and parameter == name:
                    yield from _stored(one["Value"], 0, f"the stack {stack}")


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError("not a URL with http or https")
    return text


def _moment(text: str) -> float:
    try:
        if text.isdecimal():
            return int(text) / (1000 if len(text) == 13 else 1)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("neither epoch seconds nor ISO 8601") from None
    return moment.timestamp()
