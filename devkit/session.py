"""One run of `connect`, `plan` or `disconnect`: the stack, who is asked about it, and what is wanted of them."""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import httpx

from agent import agent
from devkit import deployed, facts, remembered, samconfig, target
from devkit.deployed import Deployed
from devkit.errors import UserError
from devkit.execution import Scene, patient
from devkit.remembered import Before
from devkit.rest import ANSWER_SECONDS, Failed
from devkit.target import Target
from devkit.there import Clients, There, by_id
from devkit.twilio_numbers import Account, TwilioNumbers
from devkit.vapi_rest import VapiRest
from devkit.wanted import ANSWERS, SWITCHBOARD, Asked, Wanted
from switchboard.desk import Agent
from switchboard.messages import E164
from switchboard.secrets import TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, VAPI_API_KEY, VAPI_PUBLIC_KEY, VAPI_WEBHOOK
from switchboard.settings import LOCAL

NO_NUMBER = "none"
PROBE_SECONDS = 10.0  # that a message of Vapi's may take, before and after the call that it is about is ended
_ACCOUNT_SID = re.compile(r"AC[0-9a-f]{32}", re.ASCII)


class Ways(NamedTuple):
    """How the world is reached: for a test, by other transports, and without waiting."""

    agent: Agent = agent
    vapi: httpx.BaseTransport | None = None
    twilio: httpx.BaseTransport | None = None
    stack: httpx.BaseTransport | None = None
    seconds: float = ANSWER_SECONDS
    probe_seconds: float = PROBE_SECONDS
    sleep: Callable[[float], None] = time.sleep


USUAL = Ways()


class Session(NamedTuple):
    """A stack, what is wanted for it, and where that is done."""

    chosen: Target
    deployed: Deployed
    want: Wanted
    scene: Scene
    there: There


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what is connected, and to which stack."""
    choices(parser)
    target.arguments(parser)


def choices(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what is connected."""
    parser.add_argument("--number", metavar="N", help=f"phone number, such as +15550100123, or '{NO_NUMBER}'")
    parser.add_argument("--account-sid", metavar="AC", default="", help="Twilio account that has the number")
    parser.add_argument(
        "--credential-id", metavar="ID", default="", help="Vapi credential that you have made, and given the secret"
    )
    parser.add_argument(
        "--answers",
        choices=ANSWERS,
        default="",
        help="who answers the phone: the stack (default), or Vapi, which asks the stack for the assistant",
    )
    parser.add_argument("--sms", action="store_true", help="let Vapi have the number's text messages, too, on import")


def asked(args: argparse.Namespace) -> Asked:
    """What the options say; `UserError` for a number that is none."""
    given: str | None = args.number
    if given not in (None, NO_NUMBER) and not E164.fullmatch(given or ""):
        raise UserError("give the number in full, such as +15550100123")
    if args.account_sid and not _ACCOUNT_SID.fullmatch(args.account_sid):
        raise UserError("an account SID is AC and 32 hexadecimal digits")
    number = "" if given == NO_NUMBER else given
    return Asked(number, args.account_sid, args.credential_id, args.answers, args.sms)


@contextmanager
def start(chosen: Target, known: Deployed, order: Asked, ways: Ways, say: Callable[[str], None]) -> Iterator[Session]:
    """Find out what there is. `UserError` where it is not clear which number is meant, or nobody answers."""
    with ExitStack() as open_clients:
        yield _started(chosen, known, order, ways, say, open_clients)


def _started(
    chosen: Target, known: Deployed, order: Asked, ways: Ways, say: Callable[[str], None], open_clients: ExitStack
) -> Session:
    ssm = chosen.client("ssm")
    vapi = _vapi(known, ways, VAPI_API_KEY)
    open_clients.callback(vapi.close)
    _require_public(known, ways)
    before = remembered.before(ssm, known.stack)
    scene = Scene(Clients(vapi, None, ssm), known.stack, "", say, ways.sleep)
    answers = order.answers or (before.answers if before else SWITCHBOARD)
    number, account = order.number, ""
    if number != "":
        phones = patient(lambda: vapi.listed("phone-number"), scene.sleep)
        ids = known.parameters.get("PhoneNumberId"), remembered.connection(ssm, known.stack)["phone_number_id"]
        phone = next((one for id in ids if id and (one := by_id(phones, id))), {})
        account = _account_sid(known, order, before, str(phone.get("twilioAccountSid", "")))
        twilio = _twilio(known, account, ways)
        open_clients.callback(twilio.close)
        scene = scene._replace(clients=Clients(vapi, twilio, ssm))
        number = number or (before.number if before else "") or str(phone.get("number") or "")
        number = number or _only(patient(twilio.listed, scene.sleep))
    scene = scene._replace(number=number)
    want = Wanted(
        deployed=known,
        agent=ways.agent,
        number=number,
        account_sid=account,
        answers=answers,
        credential_id=known.parameters.get("CredentialId", "") or order.credential_id,
        confirmed=bool(order.credential_id),
        sms=order.sms,
    )
    return Session(chosen, known, want, scene, scene.read())


def _require_public(known: Deployed, ways: Ways) -> None:
    """`UserError` if what is stored as the public key, which a page shows to everybody, opens what only a private one may."""
    if not known.value(VAPI_PUBLIC_KEY):
        return
    stranger = _vapi(known, ways, VAPI_PUBLIC_KEY)
    try:
        patient(lambda: stranger.listed("assistant"), ways.sleep)
    except Failed as failed:
        if failed.refused:
            return
        raise
    finally:
        stranger.close()
    raise UserError(
        "vapi-public-key is a private key of Vapi's, and a page would show it to everybody: delete that key at Vapi, then "
        f"`switchboard secrets put {VAPI_PUBLIC_KEY}{known.options}` with the public one"
    )


def _vapi(known: Deployed, ways: Ways, key: str) -> VapiRest:
    url = known.parameters["VapiApiUrl"]
    hidden = [known.value(name) for name in (VAPI_WEBHOOK, TWILIO_AUTH_TOKEN, TWILIO_API_SECRET)]
    hidden.append(hidden[0].removeprefix("whsec_"))  # as it is sent where it is base64
    return VapiRest(
        url,
        known.value(key),
        secrets=tuple(hidden),
        local=_local(known, url),
        transport=ways.vapi,
        timeout=ways.seconds,
    )


def _twilio(known: Deployed, account_sid: str, ways: Ways) -> TwilioNumbers:
    key = known.parameters.get("TwilioApiKeySid", "")
    password = known.value(TWILIO_API_SECRET if key else TWILIO_AUTH_TOKEN)
    url = known.parameters["TwilioApiUrl"]
    return TwilioNumbers(
        url,
        Account(account_sid, key or account_sid, password),
        local=_local(known, url),
        transport=ways.twilio,
        timeout=ways.seconds,
    )


def _local(known: Deployed, url: str) -> bool:
    """Whether this is the stack on this machine, which may reach nobody else."""
    if known.parameters.get("Stage") != LOCAL:
        return False
    facts.require_loopback(url)
    return True


def _account_sid(known: Deployed, order: Asked, before: Before | None, at_vapi: str) -> str:
    if sid := order.account_sid or (before.account_sid if before else ""):
        return sid
    if len(known.accounts) == 1:
        return known.accounts[0]
    if at_vapi:
        return at_vapi
    raise UserError("it is not known which Twilio account has the number: give --account-sid (or --number none)")


def _only(numbers: list[str]) -> str:
    if len(numbers) == 1:
        return numbers[0]
    told = "no number" if not numbers else f"{len(numbers)} numbers"
    raise UserError(f"the Twilio account has {told}: say with --number which one is connected, or 'none'")


def opened(args: argparse.Namespace) -> tuple[Target, Deployed]:
    """The stack that the options name, and what is known about it; its name is said first."""
    named = "" if args.local or args.stack_name else samconfig.read().stack_name
    args.stack_name = args.stack_name or named
    chosen = target.chosen(args)
    sys.stdout.write(f"stack {chosen.stack}{f', named in {samconfig.FILE}' if named else ''}\n")
    sys.stdout.flush()
    known = deployed.read(chosen)
    if args.local:
        # The emulator's function URLs are elsewhere than AWS's, which is what its outputs say.
        fallback = facts.running()["function_urls"]["VoiceFallbackFunction"]
        known = known._replace(outputs={**known.outputs, "VoiceFallbackUrl": fallback})
    return chosen, known
