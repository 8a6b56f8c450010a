"""Why a stack is not connected: each reason a sentence that says what to do about it."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from devkit import assistant_rules, wanted
from devkit.assistant_rules import Needs
from devkit.deployed import Deployed
from devkit.there import There, by_id, own_assistant, own_credential, phone
from devkit.wanted import SWITCHBOARD, VAPI, Asked, Wanted
from switchboard.secrets import (
    TWILIO_API_SECRET,
    TWILIO_AUTH_TOKEN,
    VAPI_API_KEY,
    VAPI_PUBLIC_KEY,
    VAPI_WEBHOOK,
)
from switchboard.settings import BYPASS, REDIRECT, SIP

PRODUCTION = "prod"
VAPIS = ".vapi.ai"


def of_stack(deployed: Deployed, asked: Asked) -> list[str]:
    """What can be said before anybody is asked."""
    return list(_of_stack(deployed, asked))


def _of_stack(deployed: Deployed, asked: Asked) -> Iterator[str]:
    needed = {VAPI_API_KEY: True, VAPI_WEBHOOK: True}
    needed[TWILIO_AUTH_TOKEN] = asked.number != ""
    needed[TWILIO_API_SECRET] = asked.number != "" and bool(deployed.parameters.get("TwilioApiKeySid"))
    needed[VAPI_PUBLIC_KEY] = deployed.flag("ControlAuthentication")
    for name, is_needed in needed.items():
        if is_needed and not deployed.value(name):
            yield f"{name} is not stored, without which nothing works: run `switchboard secrets put {name}{deployed.options}`"
    if deployed.parameters.get("Stage") == PRODUCTION and not deployed.flag("ControlAuthentication"):
        yield (
            "in production whoever learns a call's control URL could speak into it: store vapi-public-key and deploy "
            "with ControlAuthentication=true, or with another Stage if this is no production"
        )
    if deployed.parameters.get("VoiceWay") == SIP and not deployed.parameters.get("SipUri"):
        yield "VoiceWay is sip, and there is no address to dial: deploy with SipUri, such as sip:clinic@sip.vapi.ai"


def of_agent(want: Wanted, there: There) -> list[str]:
    """What is wrong with the assistant as it would stand at Vapi, and with what options and parameters name."""
    return [*_named(want, there), *_assistant(want, there)]


def _named(want: Wanted, there: There) -> Iterator[str]:
    before, given = there.before, want.deployed.parameters
    if before and before.number and before.number != want.number:
        yield (
            f"the stack is connected to {before.number}: run `switchboard disconnect{want.deployed.options}` first, so that what that number "
            "had before is put back"
        )
    yield from _not_admitted(want, there)
    if want.number and there.line is None:
        yield f"{want.number} is not a number of the Twilio account: see --number and --account-sid"
    if want.credential_id and there.credentials is not None and not by_id(there.credentials, want.credential_id):
        yield "Vapi has no credential of the id that is given: see --credential-id and the parameter CredentialId"
    if want.assistant_id and not by_id(there.assistants, want.assistant_id):
        yield "Vapi has no assistant of the id in AssistantId: deploy with another one, or with none"
    stored = phone(want, there)
    if given.get("PhoneNumberId") and want.number and (stored is None or stored.get("number") != want.number):
        yield (
            f"the id in PhoneNumberId is not that of {want.number} at Vapi: deploy with another one, or with none and "
            "let the number be imported"
        )


def _not_admitted(want: Wanted, there: There) -> Iterator[str]:
    """Whom the stack would turn away with 403, although it is connected to them."""
    given = want.deployed.parameters
    accounts, organisations, assistants = (
        [one for one in given.get(name, "").split(",") if one]
        for name in ("TwilioAccountSids", "AllowedOrgIds", "AllowedAssistantIds")
    )
    if want.number and accounts and want.account_sid not in accounts:
        yield f"calls of the account {want.account_sid} are refused: deploy with it in TwilioAccountSids, or with none"
    objects = (*there.assistants, *there.tools, *there.phones)
    known = {str(one["orgId"]) for one in objects if one.get("orgId")}
    if organisations and known and not known & {*organisations}:
        yield "the organisation of vapi-api-key is not in AllowedOrgIds: deploy with it in the list, or with the list empty"
    if assistants:
        config = {} if want.assistant_id else wanted.configuration(want, "")
        own = own_assistant(there, str(config.get("name", "")), want.webhook_url) if config else None
        id = want.assistant_id or str((own or {}).get("id", ""))
        if (config or id) and id not in assistants:
            yield (
                f"calls of the assistant {id or 'that would be made'} are refused: deploy with AllowedAssistantIds "
                "empty; the id that is made can be put into the list afterwards"
            )
    inbound, api = (urlsplit(given.get(name, "")).hostname or "" for name in ("VapiInboundUrl", "VapiApiUrl"))
    elsewhere = inbound != api and inbound.endswith(VAPIS) and api.endswith(VAPIS)
    if want.number and elsewhere and (want.answers == VAPI or want.way == REDIRECT):
        yield (
            f"Vapi is asked at {api}, and callers would be sent to {inbound}: deploy with the VapiInboundUrl of the same "
            "region"
        )


def _assistant(want: Wanted, there: There) -> Iterator[str]:
    config, mend = _to_be_stored(want, there)
    if not config:
        return
    moved = want.answers == SWITCHBOARD and want.way in (BYPASS, SIP)
    if moved and want.number and _transfers(config):
        yield (
            f"the assistant has transfers that Vapi makes (transferCall), and with VoiceWay={want.way} Vapi cannot move "
            f"the leg: let a tool call `Call.transfer`, or deploy with VoiceWay={REDIRECT}"
        )
    needs = Needs.of(want.backend(""), want.agent)
    if want.assistant_id:
        config = _what_matters(config, needs)
    for fault in assistant_rules.faults(config, needs):
        yield f"{fault}; {mend}"


def _to_be_stored(want: Wanted, there: There) -> tuple[dict[str, Any], str]:
    """The assistant as it would stand at Vapi, its tools inline, and where it can be mended; {} where there is none."""
    if not want.assistant_id:
        return wanted.configuration(want, ""), "mend it in assistant.py"
    stored = by_id(there.assistants, want.assistant_id)
    if stored is None:
        return {}, ""
    model = dict(stored.get("model") or {})
    tools = [by_id(there.tools, id) for id in model.get("toolIds") or []]
    model["tools"] = [*(model.get("tools") or []), *filter(None, tools)]
    return {**stored, "model": model, "server": want.server("")}, "mend it at Vapi, in the assistant of AssistantId"


def _what_matters(config: Mapping[str, Any], needs: Needs) -> dict[str, Any]:
    """Of an assistant that somebody else looks after, what decides whether this stack works with it."""
    kept = {name: config[name] for name in ("server", "monitorPlan") if config.get(name)}
    given = config.get("serverMessages")
    if isinstance(given, list):
        kept["serverMessages"] = [kind for kind in needs.server_messages if kind in given]
    return kept


def _transfers(value: object) -> bool:
    """Whether a tool that is Vapi's own way to transfer stands anywhere in it."""
    if isinstance(value, Mapping):
        return (
            value.get("type") == "transferCall"
            or "forwardingPhoneNumber" in value
            or any(_transfers(entry) for entry in value.values())
        )
    return isinstance(value, list | tuple) and any(map(_transfers, value))


def notes(want: Wanted, there: There) -> list[str]:
    """What is left as it is, and somebody should know of."""
    return list(_notes(want, there))


def _notes(want: Wanted, there: There) -> Iterator[str]:
    config = {} if want.assistant_id else wanted.configuration(want, "")
    own = own_assistant(there, str(config.get("name", "")), want.webhook_url)
    for other in there.assistants:
        if config and other is not own and other.get("name") == config.get("name"):
            yield f"another assistant of that name stays as it is: {other['id']}"
    by_api = there.credentials is not None and own_credential(want.deployed, there)
    made_by_hand = want.credential_id or ("" if by_api else there.connection["credential_id"])
    if made_by_hand and there.connection["credential_secret"] not in ("", want.secret_id) and not want.confirmed:
        yield (
            "vapi-webhook has a newer value than the credential was given: paste it at Vapi, then run `switchboard "
            f"connect --credential-id {made_by_hand}{want.deployed.options}`"
        )
