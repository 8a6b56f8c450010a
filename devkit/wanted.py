"""What a stack wants to find at Vapi and Twilio: the objects as they would be sent."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from devkit.deployed import Deployed
from devkit.errors import UserError
from switchboard import desk
from switchboard.connection import Connection
from switchboard.desk import Agent, Backend
from switchboard.secrets import TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, VAPI_WEBHOOK
from switchboard.settings import BYPASS, REDIRECT, SIP
from switchboard.signatures import Scheme

SWITCHBOARD, VAPI = ANSWERS = ("switchboard", "vapi")
PLAN_SECRETS = ("secretKey", "token")  # of an authentication plan
LONGEST_NAME = 40  # of an object at Vapi
ANSWERING = ("assistantId", "squadId", "workflowId")  # who answers a number; while none is set, the server is asked


class Asked(NamedTuple):
    """What the command line says."""

    number: str | None = None
    """The phone number, '' for none at all, None for the one that is known or the only one."""
    account_sid: str = ""
    credential_id: str = ""
    answers: str = ""
    sms: bool = False


class Wanted(NamedTuple):
    """What a stack is to be connected to."""

    deployed: Deployed
    agent: Agent
    number: str
    account_sid: str
    answers: str
    credential_id: str = ""
    """A credential that somebody else has made, by option or parameter."""
    confirmed: bool = False
    """Whether somebody says, by the option, that this credential signs with the newest secret."""
    sms: bool = False

    @property
    def way(self) -> str:
        """How a caller whom this stack answers reaches the assistant."""
        return self.deployed.parameters.get("VoiceWay") or BYPASS

    @property
    def assistant_id(self) -> str:
        """An assistant that somebody else looks after, by parameter."""
        return self.deployed.parameters.get("AssistantId", "")

    @property
    def sip_uri(self) -> str:
        """The assistant's SIP address, where a leg is sent to that; without what only Twilio reads."""
        return self.deployed.parameters.get("SipUri", "").partition(";")[0] if self.way == SIP else ""

    @property
    def secret_id(self) -> str:
        """Which value of `vapi-webhook` the credential is to sign with."""
        return str(self.deployed.secrets[VAPI_WEBHOOK]["id"])

    def backend(self, credential_id: str) -> Backend:
        """What an assistant says about the stack."""
        return desk.describe(
            self.deployed.base_url,
            Connection(credential_id=credential_id),
            store_transcripts=self.deployed.flag("StoreTranscripts"),
            control_authentication=self.deployed.flag("ControlAuthentication"),
        )

    def server(self, credential_id: str) -> dict[str, Any]:
        """Vapi's `server` block."""
        return dict(self.backend(credential_id).server)

    @property
    def webhook_url(self) -> str:
        """By which what belongs to this stack is known at Vapi."""
        return str(self.server("")["url"])


def credential_name(deployed: Deployed) -> str:
    """The name that tells this stack's credential from those of stacks with the same name elsewhere."""
    mark = hashlib.sha256(deployed.stack_id.encode()).hexdigest()[:8]
    return f"{deployed.stack[: LONGEST_NAME - 9]} {mark}"


def credential(wanted: Wanted) -> dict[str, Any]:
    """`CreateCustomCredentialDTO`."""
    return {
        "provider": "custom-credential",
        "name": credential_name(wanted.deployed),
        "authenticationPlan": plan(wanted.deployed.scheme, wanted.deployed.value(VAPI_WEBHOOK)),
    }


def plan(scheme: Scheme, secret: str) -> dict[str, Any]:
    """Vapi's authentication plan for a scheme; `UserError` where Vapi has none."""
    if scheme.encoding == "plain":
        if scheme.prefix not in ("", "Bearer "):
            raise UserError(
                f"Vapi sends a secret alone or after 'Bearer ', not after {scheme.prefix!r}: deploy with another "
                "prefix in SignatureOverrides, or another SignatureScheme"
            )
        return {
            "type": "bearer",
            "token": secret,
            "headerName": scheme.signature_header,
            "bearerPrefixEnabled": bool(scheme.prefix),
        }
    based = scheme.secret_encoding == "base64"  # noqa: S105 - an encoding, not a secret
    made: dict[str, Any] = {
        "type": "hmac",
        # The mark before a base64 secret is for people.
        "secretKey": secret.removeprefix("whsec_") if based else secret,
        "algorithm": scheme.algorithm,
        "signatureHeader": scheme.signature_header,
        "includeTimestamp": bool(scheme.timestamp_header),
        "payloadFormat": scheme.payload,
        "signatureEncoding": scheme.encoding,
        "secretIsBase64": based,
    }
    optional = {
        "timestampHeader": scheme.timestamp_header,
        "messageIdHeader": scheme.id_header,
        "signaturePrefix": scheme.prefix,
    }
    return made | {name: value for name, value in optional.items() if value}


def configuration(wanted: Wanted, credential_id: str) -> dict[str, Any]:
    """The assistant as code, tools inline; {} where the agent stores none."""
    return dict(wanted.agent.configuration(wanted.backend(credential_id)))


def tools(wanted: Wanted, config: Mapping[str, Any], credential_id: str) -> list[dict[str, Any]]:
    """The function tools that this stack answers, as tools of their own (`CreateFunctionToolDTO`)."""
    server = dict(wanted.backend(credential_id).tool_server)
    return [{**tool, "server": server} for tool in _inline(config) if is_ours(tool, wanted.webhook_url)]


def assistant(wanted: Wanted, config: Mapping[str, Any], tool_ids: Sequence[str]) -> dict[str, Any]:
    """The assistant with its tools by id; those that it does not ask this stack for stay inline."""
    model = dict(config.get("model", {}))
    model["tools"] = [tool for tool in _inline(config) if not is_ours(tool, wanted.webhook_url)]
    model["toolIds"] = [*model.get("toolIds", []), *tool_ids]
    return {**config, "model": model}


def _inline(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(config.get("model", {}).get("tools", []))


def is_ours(tool: Mapping[str, Any], webhook_url: str) -> bool:
    """Whether calls of an inline tool come to this stack: by its own server, or by the assistant's."""
    return tool.get("type") == "function" and (not url_of(tool) or asks_us(tool, webhook_url))


def asks_us(tool: Mapping[str, Any], webhook_url: str) -> bool:
    """Whether a tool has a server of its own, and that is this stack."""
    return url_of(tool) in (webhook_url, desk.tools_url(webhook_url))


def url_of(object: Mapping[str, Any]) -> str:
    """Whom an object of Vapi's asks, or ''."""
    server = object.get("server")
    return str(server.get("url") or "") if isinstance(server, Mapping) else ""


def phone(wanted: Wanted, credential_id: str) -> dict[str, Any]:
    """What is set on the number at Vapi: whom it asks; and nobody who answers without asking, where Vapi answers."""
    asks = wanted.answers == VAPI or wanted.way in (REDIRECT, SIP)
    nobody: dict[str, Any] = dict.fromkeys(ANSWERING) if asks else {}
    return {"server": wanted.server(credential_id), **nobody}


def imported(wanted: Wanted, credential_id: str) -> dict[str, Any]:
    """`CreateTwilioPhoneNumberDTO`: the number as Vapi is given it, by an API key rather than the account's token."""
    key = wanted.deployed.parameters.get("TwilioApiKeySid", "")
    proof = {"twilioAuthToken": wanted.deployed.value(TWILIO_AUTH_TOKEN)}
    if key:
        proof = {"twilioApiKey": key, "twilioApiSecret": wanted.deployed.value(TWILIO_API_SECRET)}
    return {
        "provider": "twilio",
        "number": wanted.number,
        "name": wanted.deployed.stack[:LONGEST_NAME],
        "twilioAccountSid": wanted.account_sid,
        **proof,
        # Without this Vapi takes the number's text messages, too.
        "smsEnabled": wanted.sms,
        "server": wanted.server(credential_id),
    }


def sip(wanted: Wanted, credential_id: str) -> dict[str, Any]:
    """`CreateVapiPhoneNumberDTO`: the SIP address that a leg is sent to."""
    return {
        "provider": "vapi",
        "sipUri": wanted.sip_uri,
        "name": wanted.deployed.stack[:LONGEST_NAME],
        "server": wanted.server(credential_id),
    }


def ours(deployed: Deployed) -> dict[str, str]:
    """The URLs of this stack, by the number's fields at Twilio."""
    return {
        "voice_url": deployed.outputs["VoiceUrl"],
        "voice_fallback_url": deployed.outputs["VoiceFallbackUrl"],
        "status_callback": deployed.outputs["VoiceStatusUrl"],
    }


def line(wanted: Wanted, there: Mapping[str, Any]) -> dict[str, str]:
    """The number's fields at Twilio; `there` are those that it has. Vapi looks after the end of calls that it answers."""
    urls = ours(wanted.deployed)
    if wanted.answers == VAPI:
        inbound = wanted.deployed.parameters["VapiInboundUrl"]
        urls["voice_url"] = inbound
        if plain(there.get("status_callback")) == urls["status_callback"]:
            urls["status_callback"] = f"{inbound.rpartition('/')[0]}/status"
        else:
            urls.pop("status_callback")
    methods = {METHODS[name]: "POST" for name in urls}
    return {**urls, **methods, "voice_application_sid": "", "trunk_sid": ""}


METHODS = {
    "voice_url": "voice_method",
    "voice_fallback_url": "voice_fallback_method",
    "status_callback": "status_callback_method",
}


def plain(url: object) -> str:
    """A URL without its fragment, which says only how often Twilio tries."""
    return str(url or "").partition("#")[0]
