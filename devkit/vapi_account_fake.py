"""What an organisation holds at Vapi, on loopback: assistants, tools, phone numbers and credentials.

Requests are checked against the published schemas, closed: a field that they do not have is a 400, as at Vapi. Not in
the schemas, and from guides and other people's code: `/credential`, which can be switched off; an id that is set to
null is unset; a number that is imported has its URLs at Twilio overwritten.
"""

import copy
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from devkit.loopback import Answer, Request
from devkit.twilio_numbers_fake import Numbers, Unknown
from devkit.vapi_spec import Spec

ORG_ID = "00000000-0000-4000-8000-00000000000f"
MASKED = "********"
SECRET_FIELDS = ("twilioAuthToken", "twilioApiSecret")  # of a number; no answer holds them
PLAN_SECRETS = ("secretKey", "token", "clientSecret")
UNSET = ("assistantId", "squadId", "workflowId", "server")  # who answers, and who is asked: null unsets them
LIMIT, MOST = 100, 1000  # objects of a list: unless asked otherwise, and at the most
_PATH = re.compile(r"/(assistant|tool|phone-number|credential)(?:/([A-Za-z0-9-]+))?")
_EXTRA = re.compile(r"'([^']+)'")
_BOUNDS: Mapping[str, Callable[[str, str], bool]] = {
    "createdAtGt": str.__gt__,
    "createdAtLt": str.__lt__,
    "createdAtGe": str.__ge__,
    "createdAtLe": str.__le__,
}


class Refused(Exception):
    """A request that Vapi would turn down, with the status and the words that it uses."""

    def __init__(self, status: int, message: str | list[str], **more: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"message": message, "statusCode": status, **more})


class Kind(NamedTuple):
    """One kind of object: the schemas by the value of the field that tells them apart ('' where there is but one)."""

    told_by: str
    create: Mapping[str, str]
    update: Mapping[str, str]


_CREDENTIAL = {"custom-credential": "CreateCustomCredentialDTO"}
KINDS = {
    "assistant": Kind("", {"": "CreateAssistantDTO"}, {"": "UpdateAssistantDTO"}),
    "tool": Kind("type", {"function": "CreateFunctionToolDTO"}, {"function": "UpdateFunctionToolDTO"}),
    "phone-number": Kind(
        "provider",
        {"twilio": "CreateTwilioPhoneNumberDTO", "vapi": "CreateVapiPhoneNumberDTO"},
        {"twilio": "UpdateTwilioPhoneNumberDTO", "vapi": "UpdateVapiPhoneNumberDTO"},
    ),
    "credential": Kind("provider", _CREDENTIAL, _CREDENTIAL),
}


@cache
def schemas() -> Spec:
    """The published schemas, closed; read when first needed."""
    return Spec.load().closed()


class Account:
    """The objects, by kind and id, as they were asked for; `twilio` holds the numbers that an import reaches."""

    def __init__(
        self,
        twilio: Numbers | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        inbound_url: str = "https://api.vapi.ai/twilio/inbound_call",
    ) -> None:
        self.twilio = twilio
        self.credentials_offered = True
        self.pinned: set[str] = set()
        """Ids of what cannot be deleted, because a version of something else holds on to it."""
        self.objects: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self._new_id = new_id
        self._inbound_url = inbound_url
        self._moment = datetime.now(UTC)

    def add(self, kind: str, body: Mapping[str, Any], id: str = "") -> str:
        """Put an object there that was made in the dashboard; its id."""
        return str(self._store(kind, dict(body), id or self._new_id())["id"])

    def serves(self, path: str) -> bool:
        """Whether a path is one of these objects'."""
        return _PATH.fullmatch(path) is not None

    def answer(self, request: Request) -> Answer:
        """Answer a request that holds the right key; `Refused` where Vapi would refuse it."""
        match = _PATH.fullmatch(request.path)
        if match is None or (match[1] == "credential" and not self.credentials_offered):
            raise Refused(404, f"Cannot {request.method} {request.path}")
        kind, id = match[1], match[2] or ""
        known = self.objects[kind]
        if id and id not in known:
            raise Refused(404, "Not Found")
        match request.method, bool(id):
            case "GET", False:
                return Answer(200, [shown(one) for one in self._listed(kind, request.query)])
            case "GET", True:
                return Answer(200, shown(known[id]))
            case "POST", False:
                return Answer(201, shown(self._create(kind, json_body(request))))
            case "PATCH", True:
                return Answer(200, shown(self._update(kind, known[id], json_body(request))))
            case "DELETE", True:
                return Answer(200, shown(self._delete(kind, id)))
        raise Refused(404, f"Cannot {request.method} {request.path}")

    def _listed(self, kind: str, query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        if unknown := set(query) - {"limit", *_BOUNDS}:
            raise Refused(400, [f"property {name} should not exist" for name in sorted(unknown)])
        limit = query.get("limit", [str(LIMIT)])[0]
        if not limit.isdecimal() or int(limit) > MOST:
            raise Refused(400, [f"limit must not be greater than {MOST}"])
        found = sorted(self.objects[kind].values(), key=lambda one: str(one["createdAt"]), reverse=True)
        for name, holds in _BOUNDS.items():
            for bound in query.get(name, []):
                found = [one for one in found if holds(str(one["createdAt"]), bound)]
        return found[: int(limit)]

    def _create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self._check(KINDS[kind].create, KINDS[kind].told_by, body)
        self._check_references(body)
        if body.get("provider") == "twilio":
            self._import(body)
        if body.get("sipUri") and any(one.get("sipUri") == body["sipUri"] for one in self.objects[kind].values()):
            raise Refused(400, "SIP URI is taken already")
        return self._store(kind, body, self._new_id())

    def _update(self, kind: str, stored: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        unset = {name for name in UNSET if name in body and body[name] is None}
        given = {name: value for name, value in body.items() if name not in unset}
        told_by = KINDS[kind].told_by
        if kind == "phone-number" and told_by not in body:
            raise Refused(400, ["provider must be one of the following values: twilio, vapi"])
        told = {told_by: stored[told_by]} if told_by else {}
        whole = _own(stored) | given if kind == "credential" else given | told
        self._check(KINDS[kind].update, told_by, whole)
        self._check_references(given)
        # Each field as a whole: what stood beside a changed part of it is gone.
        stored |= copy.deepcopy(given) | {"updatedAt": self._now()}
        for name in unset:
            stored.pop(name, None)
        return stored

    def _delete(self, kind: str, id: str) -> dict[str, Any]:
        if id in self.pinned:
            raise Refused(409, f"the {kind} is pinned by a version of another object", error=f"{kind}_pinned")
        return self.objects[kind].pop(id)

    def _store(self, kind: str, body: dict[str, Any], id: str) -> dict[str, Any]:
        now = self._now()
        more: dict[str, Any] = {"authenticationSession": {}} if kind == "credential" else {}
        made = {**copy.deepcopy(body), "id": id, "orgId": ORG_ID, "createdAt": now, "updatedAt": now, **more}
        self.objects[kind][id] = made
        return made

    def _import(self, body: dict[str, Any]) -> None:
        if any(one.get("number") == body["number"] for one in self.objects["phone-number"].values()):
            raise Refused(400, f"Existing Phone Number {body['number']}")
        if self.twilio is None:
            return
        user = body.get("twilioApiKey") or body["twilioAccountSid"]
        password = body.get("twilioAuthToken") or body.get("twilioApiSecret", "")
        try:
            self.twilio.overwrite(
                body["twilioAccountSid"],
                (user if "twilioAuthToken" not in body else body["twilioAccountSid"], password),
                body["number"],
                self._inbound_url,
                sms=body.get("smsEnabled", True),
            )
        except Unknown as unknown:
            raise Refused(400, f"Twilio: {unknown}") from unknown

    def _check(self, schemas_of: Mapping[str, str], told_by: str, body: Mapping[str, Any]) -> None:
        value = str(body.get(told_by, "")) if told_by else ""
        if value not in schemas_of:
            raise Refused(400, [f"{told_by} must be one of the following values: {', '.join(schemas_of)}"])
        if faults := [told for fault in schemas().faults(schemas_of[value], body) for told in _told(fault)]:
            raise Refused(400, faults, error="Bad Request")

    def _check_references(self, body: Mapping[str, Any]) -> None:
        """Ids of other objects must be those of objects that there are."""
        named = [("credential", one) for one in _values(body, "credentialId")]
        named += [("tool", one) for ids in _values(body.get("model"), "toolIds") for one in ids]
        named += [("assistant", one) for one in [body.get("assistantId")] if one]
        for kind, id in named:
            if id not in self.objects[kind]:
                raise Refused(400, f"{kind.capitalize()} with id {id} does not exist")

    def _now(self) -> str:
        """A moment that no other object has."""
        self._moment = max(datetime.now(UTC), self._moment + timedelta(milliseconds=1))
        return self._moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _values(value: object, name: str) -> Iterator[Any]:
    """Every value of a field, however deep it stands."""
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for entry in value.values():
            yield from _values(entry, name)
    elif isinstance(value, list):
        for entry in value:
            yield from _values(entry, name)


def _own(stored: Mapping[str, Any]) -> dict[str, Any]:
    made_here = ("id", "orgId", "createdAt", "updatedAt", "authenticationSession")
    return {name: value for name, value in stored.items() if name not in made_here}


def shown(stored: Mapping[str, Any]) -> dict[str, Any]:
    """An object, or the body that makes one, without its secrets."""
    made = {name: value for name, value in copy.deepcopy(dict(stored)).items() if name not in SECRET_FIELDS}
    plan = made.get("authenticationPlan", {})
    plan |= {name: MASKED for name in PLAN_SECRETS if name in plan}
    return made


def _told(fault: str) -> Iterator[str]:
    """A fault in the words of Vapi's own check, as far as they are known."""
    where, _, what = fault.partition(": ")
    if not what.startswith("Additional properties are not allowed"):
        yield fault
        return
    prefix = f"{where}." if where[:1].islower() else ""
    for name in _EXTRA.findall(what):
        yield f"{prefix}property {name} should not exist"


def json_body(request: Request) -> dict[str, Any]:
    """The body as an object; `Refused` if it is none."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(400, "the body must be application/json")
    value = request.json()
    if value is None:
        raise Refused(400, "the body must be a JSON object")
    return value
