"""Why a function refused a request: the reason codes that it logs and counts, in words, and the newest one of a stack."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from devkit.diagnosis import Diagnosis, Mistake

_CAPTURE = "give `switchboard doctor` a captured request to learn which mistake it is"

# Every code that the signed doors can raise. What Twilio's requests mean by one is below, where it is something else.
REASONS = {
    "signature_missing": Mistake(
        "the signature's header is missing or empty",
        "select a credential wherever the server URL is set at Vapi, and compare its header with SignatureScheme",
    ),
    "signature_malformed": Mistake(
        "the signature is not of the form that the scheme has",
        "compare the credential's algorithm and encoding with SignatureScheme, and see that the header is sent once",
    ),
    "signature_prefix": Mistake(
        "the signature lacks the prefix that the scheme has",
        "compare the credential's prefix with SignatureScheme and SignatureOverrides",
    ),
    "signature_mismatch": Mistake(
        "the signature was made with another secret, or over other bytes than those that came",
        f"see that Vapi and `switchboard secrets put vapi-webhook` have the same secret, or {_CAPTURE}",
    ),
    "timestamp_missing": Mistake(
        "there is no time in the request", 'switch "include timestamp" on in the credential at Vapi'
    ),
    "timestamp_malformed": Mistake(
        "the request's time is not in seconds or milliseconds since 1970",
        "see what writes that header, and that it is sent once",
    ),
    "timestamp_stale": Mistake(
        "the request is older than SignatureTolerance allows",
        "see whether it was held back or sent again, and set the sender's clock; if there are many, somebody replays",
    ),
    "timestamp_future": Mistake("the request's time lies in the future", "set the sender's clock"),
    "message_id_missing": Mistake(
        "there is no message id in the request", "set the message id header in the credential, or choose another scheme"
    ),
    "message_id_malformed": Mistake(
        "the message id holds more than letters, digits, - and _", "see what writes that header"
    ),
    "no_secret": Mistake(
        "there is no valid secret to check with, so that everything is refused",
        "see `switchboard secrets list`, then store one with `switchboard secrets put vapi-webhook`",
    ),
    "url_malformed": Mistake(
        "the public URL of this stack cannot be read", "deploy with PublicBaseUrl empty, or https:// and a host"
    ),
    "body_too_large": Mistake(
        "the body is larger than 6 MB, or lists more than is read",
        "see who sends it: no message of Vapi or Twilio is that large",
    ),
    "body_not_base64": Mistake(
        "the body is marked as base64 and is not", "see what stands between the API and the function"
    ),
    "body_not_utf8": Mistake("the body is no text in UTF-8", "see what stands between the API and the function"),
    "not_json": Mistake("the body is no JSON", "point Vapi's server URL at /webhook/vapi, and nothing else"),
    "too_deep": Mistake("the body's JSON is nested too deeply", "see who sends it: no message of Vapi is like that"),
    "no_message": Mistake(
        "the body has no message in it", "point Vapi's server URL at /webhook/vapi, and nothing else of Vapi's"
    ),
    "no_type": Mistake(
        "the message does not say its type", "point Vapi's server URL at /webhook/vapi, and nothing else of Vapi's"
    ),
    "org_not_allowed": Mistake(
        "the call's organisation is not in AllowedOrgIds", "deploy with it in the list, or with the list empty"
    ),
    "assistant_not_allowed": Mistake(
        "the call's assistant is not in AllowedAssistantIds", "deploy with it in the list, or with the list empty"
    ),
    "form_malformed": Mistake(
        "the body is no form", "choose HTTP POST for the URL at Twilio, and point nothing but calls at it"
    ),
    "path": Mistake(
        "nothing is answered at that path", "compare the URL at Twilio with the outputs of the stack, letter by letter"
    ),
    "fields": Mistake(
        "a field is there twice, or the CallSid is not that of a call",
        "point nothing but the voice webhooks of a number at this URL",
    ),
    "account": Mistake("the account is not in TwilioAccountSids", "deploy with it in the list, or with the list empty"),
}
PHONE_REASONS = REASONS | {
    "signature_missing": Mistake(
        "there is no X-Twilio-Signature", "see that the proxy before the API keeps it, if there is one"
    ),
    "signature_malformed": Mistake(
        "X-Twilio-Signature is not of the one form that it has (28 letters of base64)",
        "see that it is sent once, and that no rule for a shared key applies to this URL at Twilio",
    ),
    "signature_mismatch": Mistake(
        "the signature was made with another auth token, for another URL, or over other fields than those that came",
        f"compare the URL at Twilio with the outputs of the stack, and `twilio-auth-token` with the console, or {_CAPTURE}",
    ),
    "no_secret": Mistake(
        "there is no valid auth token to check with, so that everything is refused",
        "see `switchboard secrets list`, then store it with `switchboard secrets put twilio-auth-token`",
    ),
}

# The log group's suffix -> the door behind it.
DOORS = {
    "vapi-webhook": "POST /webhook/vapi",
    "vapi-tools": "POST /webhook/vapi/tools",
    "twilio-voice": "POST /voice/inbound",
    "twilio-callbacks": "POST /voice/status",
}
LINES = frozenset({"signature refused", "message refused", "phone request refused"})
WINDOWS = (600, 3600, 24 * 3600, 30 * 24 * 3600)  # seconds; logs are kept for 30 days at most


class Refusal(NamedTuple):
    """One refusal that a function logged. `at` is in epoch seconds."""

    at: float
    door: str
    reason: str

    @property
    def sentence(self) -> str:
        """Why, and what to check."""
        known = (REASONS if self.door == DOORS["vapi-webhook"] else PHONE_REASONS).get(self.reason)
        if known is None:
            return f"Refused as {self.reason}, a reason of another version of Switchboard than this one."
        return f"Refused because {known.why}: {known.change}."

    def __str__(self) -> str:
        moment = datetime.fromtimestamp(self.at, UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC  {self.door}  {self.reason}\n{self.sentence}"


def refused_all_the_same(reason: str) -> Diagnosis:
    """What to say of a request that is rightly signed and refused for `reason`."""
    row = REASONS[reason]
    said = f"The signature verifies, but the request is refused all the same, because {row.why}: {row.change}."
    return Diagnosis(False, said, (reason,))


def newest(logs: Any, stack: str, now: float) -> Refusal | None:
    """The newest refusal in the logs of a stack, or None; `LookupError` if the stack has no logs.

    `logs` is a client of CloudWatch Logs. The functions log one refusal a second at most, and count all of them.
    """
    groups = {name: door for name, door in _groups(stack).items() if _exists(logs, name)}
    if not groups:
        raise LookupError(stack)
    for window in WINDOWS:
        found = [one for name, door in groups.items() for one in _refusals(logs, name, door, now - window)]
        if found:
            return max(found)
    return None


def _groups(stack: str) -> dict[str, str]:
    return {f"/aws/lambda/{stack}-{suffix}": door for suffix, door in DOORS.items()}


def _exists(logs: Any, name: str) -> bool:
    found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(group["logGroupName"] == name for group in found)


def _refusals(logs: Any, group: str, door: str, since: float) -> Iterator[Refusal]:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, startTime=int(since * 1000), filterPattern='"refused"'
    )
    for page in pages:
        for event in page["events"]:
            reason = _reason(event["message"])
            if reason:
                yield Refusal(event["timestamp"] / 1000, door, reason)


def _reason(line: str) -> str:
    try:
        said = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(said, dict) or said.get("message") not in LINES:
        return ""
    return str(said.get("reason", ""))
