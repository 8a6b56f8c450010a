"""Vapi on loopback: the API that a backend calls. `POST /call`, `GET /call/{id}` and each live call's control URL; and
`POST /call/web`, which a browser calls with the public key (`devkit.vapi_web_fake`).

What an organisation is set up with (assistants, tools, numbers, credentials) is in `devkit.vapi_account_fake`.

It is as strict as the real one (unknown fields, numbers, keys are refused) and can be told to fail. Whoever plays a call
(`devkit.simulate`) moves it along through the door `/_fake/`: a call begins, its audio arrives, it ends. What Vapi
sends to a backend is in `devkit.server_messages`.
"""

import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from devkit import development, vapi_web_fake
from devkit.loopback import DOOR, Answer, Loopback, Request
from devkit.twilio_numbers_fake import Numbers
from devkit.vapi_account_fake import KINDS, ORG_ID, Account, Refused, json_body, shown

# Fields that `POST /call` accepts; anything else is a 400 "property … should not exist", as at Vapi. The last one
# is missing from the published schema, though Vapi's own samples and documentation use it.
CALL_FIELDS = frozenset(
    {
        "assistant",
        "assistantId",
        "assistantOverrides",
        "assistantVersion",
        "customer",
        "customerId",
        "customers",
        "name",
        "phoneNumber",
        "phoneNumberId",
        "schedulePlan",
        "squad",
        "squadId",
        "squadOverrides",
        "transport",
        "workflow",
        "workflowId",
        "workflowOverrides",
        "phoneCallProviderBypassEnabled",
    }
)
CONTROLS = ("mute-assistant", "unmute-assistant", "mute-customer", "unmute-customer", "say-first-message")
ROLES = ("assistant", "function", "user", "system", "tool")
FAILURES = ("refuse", "limit", "error", "timeout", "lose")
# What can be told to fail: calls, control URLs, and each request about what an organisation holds, as "POST /tool".
FAILING = (
    "call",
    "control",
    "web",
    *(f"{method} /{kind}" for method in ("GET", "POST", "PATCH", "DELETE") for kind in KINDS),
)
WEB_SOCKET_CALL = "vapi.websocketCall"
TIMEOUT = 60.0  # longer than any client waits
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_CONTROL_PATH = re.compile(r"/([A-Za-z0-9-]+)/control")
_CALL_PATH = re.compile(r"/call/([A-Za-z0-9-]+)")


class VapiFake(Loopback):
    """The server. `requests` holds what was asked, oldest first, without credentials."""

    def __init__(
        self,
        port: int = 0,
        *,
        api_key: str = development.VAPI_API_KEY,
        public_key: str = development.VAPI_PUBLIC_KEY,
        origins: Sequence[str] = (),
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        twilio: Numbers | None = None,
    ) -> None:
        super().__init__(port)
        self.account = Account(twilio, new_id)
        self.tell: Callable[[dict[str, Any]], None] = lambda call: None
        """Called with each call that Vapi carries by itself, over a web socket."""
        self.api_key = api_key
        self.public_key = public_key
        self.origins = origins  # where the public key may be used; empty is everywhere
        self.new_id = new_id
        self.calls: dict[str, dict[str, Any]] = {}
        self._streams: dict[str, str] = {}
        self._failures: list[tuple[str, str]] = []

    def fail(self, what: str, how: str, times: int = 1) -> None:
        """Let the next requests of a kind that `FAILING` names fail.

        `refuse` (400), `limit` (429) and `error` (500) do nothing; `timeout` and `lose` act, but the answer comes too
        late or never. Only a `web` call is refused as `busy`, or for its `assistant`.
        """
        known = (*FAILURES, *vapi_web_fake.REFUSALS) if what == "web" else FAILURES
        if what not in FAILING or how not in known:
            raise ValueError(f"cannot fail {what!r} by {how!r}")
        with self.lock:
            self._failures += [(what, how)] * times

    def answer(self, request: Request) -> Answer:
        """Answer as Vapi would, unless told to fail."""
        try:
            if request.path.startswith(DOOR):
                return self._door(request)
            return self._failing(request)._replace(headers=vapi_web_fake.cors(request))
        except Refused as refused:
            return refused.answer._replace(headers=vapi_web_fake.cors(request))

    def record(self, request: Request, answer: Answer) -> dict[str, Any] | None:
        """Keep the body too, and which call it was about; the key that came with it is not kept."""
        entry = super().record(request, answer)
        if entry is None or request.method == "OPTIONS":
            return None
        if self.account.serves(request.path):
            return entry | {"body": shown(request.json() or {})}
        made = answer.body.get("id") if isinstance(answer.body, dict) else None
        at_control = _CONTROL_PATH.fullmatch(request.path)
        return entry | {"call": at_control.group(1) if at_control else made, "body": request.json()}

    def _failing(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            return Answer(204)
        what = "control" if _CONTROL_PATH.fullmatch(request.path) else "call"
        if request.path == vapi_web_fake.PATH:
            what = "web"
        if self.account.serves(request.path):
            what = f"{request.method} /{request.path.split('/')[1]}"
        how = next((how for waiting, how in self._failures if waiting == what), "")
        if how:
            self._failures.remove((what, how))
        if how == "refuse":
            raise Refused(400, "Bad Request")
        if how == "limit":
            raise Refused(429, "Rate limit exceeded")
        if how == "error":
            raise Refused(500, "Internal server error")
        if how in vapi_web_fake.REFUSALS:
            raise Refused(400, vapi_web_fake.REFUSALS[how])
        try:
            answer = self._api(request)
        except Refused as refused:
            answer = refused.answer  # which can be lost as well
        return answer._replace(hold=TIMEOUT if how == "timeout" else 0, lost=how == "lose")

    def _api(self, request: Request) -> Answer:
        if match := _CONTROL_PATH.fullmatch(request.path):
            return self._control(request, match.group(1))
        if request.method == "POST" and request.path == vapi_web_fake.PATH:
            return Answer(201, self._create_web(request))
        if request.bearer != self.api_key:
            raise Refused(
                401, "Invalid Key. Hot tip, you may be using the public key instead of the private key, or vice versa."
            )
        if self.account.serves(request.path):
            return self.account.answer(request)
        if request.method == "POST" and request.path == "/call":
            return Answer(201, self._create(json_body(request)))
        if request.method == "GET" and (match := _CALL_PATH.fullmatch(request.path)):
            return Answer(200, self._known(match.group(1)))
        raise Refused(404, f"Cannot {request.method} {request.path}")

    def _create(self, order: dict[str, Any]) -> dict[str, Any]:
        if faults := order_faults(order):
            raise Refused(400, faults)
        bypass = order.get("phoneCallProviderBypassEnabled") is True
        call = self._open(_kind(order, bypass), order)
        if call["type"] == WEB_SOCKET_CALL:
            self.tell(dict(call))
        answer = call | {
            "subscriptionLimits": {"concurrencyBlocked": False, "concurrencyLimit": 10, "remainingConcurrentCalls": 9}
        }
        if bypass:
            # Good for one phone leg: whoever dials it is connected to this call.
            stream = f"wss://phone-call-websocket.vapi.invalid/{uuid.uuid4()}/transport"
            self._streams[stream] = call["id"]
            answer["phoneCallProviderDetails"] = {
                "twiml": f'<Response><Connect><Stream url="{stream}"/></Connect></Response>'
            }
        return answer

    def _create_web(self, request: Request) -> dict[str, Any]:
        """Make a call for a browser, which finds its room under `webCallUrl`."""
        if request.bearer != self.public_key:
            raise Refused(401, "Invalid Key. Hot tip, you may be using the private key instead of the public key.")
        if self.origins and request.headers.get("origin") not in self.origins:
            raise Refused(403, "Origin not allowed for this key.")
        order = request.json() or {}
        if faults := vapi_web_fake.faults(order):
            raise Refused(400, faults)
        known = self.calls[self._open("webCall", order)["id"]]
        for name in ("phoneCallProvider", "phoneCallTransport", "roomDeleteOnUserLeaveEnabled"):
            known.pop(name, None)
        url = f"https://vapi.daily.co/{known['id']}"
        return dict(self._change(known, {"webCallUrl": url, "transport": {"provider": "daily", "callUrl": url}}))

    def _open(self, kind: str, order: dict[str, Any]) -> dict[str, Any]:
        call_id, now = self.new_id(), _now()
        # The flag is not echoed, so that a call looks the same however it was made.
        kept = {key: value for key, value in order.items() if key != "phoneCallProviderBypassEnabled"}
        call = {
            "id": call_id,
            "orgId": ORG_ID,
            "type": kind,
            "status": "queued",
            "createdAt": now,
            "updatedAt": now,
            "phoneCallProvider": "twilio",
            "phoneCallTransport": "pstn",
            "monitor": {
                "controlUrl": f"{self.url}/{call_id}/control",
                "listenUrl": f"ws://127.0.0.1:{self.port}/{call_id}/listen",
            },
            **kept,
        }
        self.calls[call_id] = call
        return dict(call)

    def _known(self, call_id: str) -> dict[str, Any]:
        if call_id not in self.calls:
            raise Refused(404, "Not Found")
        return self.calls[call_id]

    def _control(self, request: Request, call_id: str) -> Answer:
        call = self.calls.get(call_id)
        # What Vapi answers for a call that is over is not documented; that it fails is all one may rely on.
        if request.method != "POST" or call is None or call["status"] == "ended":
            raise Refused(404, "Call not found or not in progress")
        if demands_public_key(call) and request.bearer != self.public_key:
            raise Refused(401, "Unauthorized")
        command = json_body(request)
        if fault := command_fault(command):
            raise Refused(400, fault)
        if command["type"] == "end-call":
            self._change(call, {"status": "ended", "endedReason": "assistant-ended-call"})
        return Answer(200, {})

    def _door(self, request: Request) -> Answer:
        """What the one who plays a call may do: read the records, begin, connect, change and end calls, order failures."""
        verb = (request.method, request.path.removeprefix(DOOR).partition("/")[0])
        rest = request.path.removeprefix(DOOR).partition("/")[2]
        match verb:
            case ("GET", "requests"):
                after = int(request.query.get("after", ["0"])[0])
                return Answer(200, {"requests": self.requests[after:]})
            case ("POST", "calls"):
                return Answer(201, self._open("inboundPhoneCall", json_body(request)))
            case ("PATCH", "calls"):
                return Answer(200, self._change(self._known(rest), json_body(request)))
            case ("POST", "streams"):
                return Answer(200, self._connect(str(json_body(request).get("url"))))
            case ("POST", "failures"):
                order = json_body(request)
                self.fail(str(order.get("what")), str(order.get("how")), int(order.get("times", 1)))
                return Answer(200, {})
        raise Refused(404, "the fake has no such door")

    def _connect(self, url: str) -> dict[str, Any]:
        call_id = self._streams.pop(url, "")
        if not call_id:
            raise Refused(404, "no call waits at this stream, or somebody is connected already")
        return self._change(self.calls[call_id], {"status": "in-progress", "startedAt": _now()})

    def _change(self, call: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        call |= changes | {"updatedAt": _now()}
        if changes.get("status") == "ended":
            call.setdefault("endedAt", _now())
        return dict(call)


def order_faults(order: dict[str, Any]) -> list[str]:
    """Why `POST /call` would be refused; an empty list when it would not."""
    faults = [f"property {name} should not exist" for name in order if name not in CALL_FIELDS]
    if not any(order.get(name) for name in ("assistantId", "assistant", "squadId", "squad", "workflowId", "workflow")):
        faults.append("one of assistantId, assistant, squadId, squad, workflowId, workflow must be given")
    if _by_web_socket(order):
        return faults
    if not isinstance(order.get("phoneNumberId"), str) and not isinstance(order.get("phoneNumber"), dict):
        faults.append("phoneNumberId or phoneNumber must be given")
    if not isinstance(order.get("phoneCallProviderBypassEnabled", False), bool):
        faults.append("phoneCallProviderBypassEnabled must be a boolean value")
    return faults + customer_faults(order.get("customer"))


def _by_web_socket(order: dict[str, Any]) -> bool:
    transport = order.get("transport")
    return isinstance(transport, dict) and transport.get("provider") == "vapi.websocket"


def _kind(order: dict[str, Any], bypass: bool) -> str:
    if _by_web_socket(order):
        return WEB_SOCKET_CALL
    return "inboundPhoneCall" if bypass else "outboundPhoneCall"


def customer_faults(customer: Any) -> list[str]:
    """Why a customer would be refused: the number must be E.164 unless the check is switched off."""
    if not isinstance(customer, dict) or not isinstance(customer.get("number"), str):
        return ["customer.number must be a string"]
    number = customer["number"]
    if not 3 <= len(number) <= 40:
        return ["customer.number must be between 3 and 40 characters"]
    if customer.get("numberE164CheckEnabled", True) and not _E164.fullmatch(number):
        return ["customer.number must be a valid phone number in the E.164 format"]
    return []


def command_fault(command: dict[str, Any]) -> str:
    """Why a live call control command would be refused, or ''. The published `ClientInboundMessage*` schemas decide."""
    match command.get("type"):
        case "say":
            return _mistyped(
                command, content=str, endCallAfterSpoken=bool, interruptionsEnabled=bool, interruptAssistantEnabled=bool
            )
        case "add-message":
            return _message_fault(command.get("message")) or _mistyped(command, triggerResponseEnabled=bool)
        case "control":
            return "" if command.get("control") in CONTROLS else f"control must be one of {', '.join(CONTROLS)}"
        case "end-call":
            return ""
        case "transfer":
            return _destination_fault(command.get("destination")) or _mistyped(command, content=str)
        case other:
            return f"type {other!r} is not a command"


def _mistyped(command: dict[str, Any], **types: type) -> str:
    wrong = [name for name, kind in types.items() if name in command and not isinstance(command[name], kind)]
    return f"{', '.join(wrong)} has the wrong type" if wrong else ""


def _message_fault(message: Any) -> str:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        return f"message.role must be one of {', '.join(ROLES)}"
    if "content" not in message or not isinstance(message["content"], str | None):
        return "message.content must be a string"
    return ""


def _destination_fault(destination: Any) -> str:
    if destination is None:
        return ""
    if not isinstance(destination, dict):
        return "destination must be an object"
    match destination.get("type"):
        case "number":
            number = destination.get("number")
            return "" if isinstance(number, str) and 3 <= len(number) <= 40 else "destination.number is not a number"
        case "sip":
            return "" if isinstance(destination.get("sipUri"), str) else "destination.sipUri must be a string"
    return "destination.type must be number or sip"


def demands_public_key(call: dict[str, Any]) -> bool:
    """Whether the call was made with `monitorPlan.controlAuthenticationEnabled`."""
    holders = (call.get("assistantOverrides"), call.get("assistant"))
    plans = [holder["monitorPlan"] for holder in holders if isinstance(holder, dict) and "monitorPlan" in holder]
    return bool(plans and plans[0].get("controlAuthenticationEnabled"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
