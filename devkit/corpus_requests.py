"""The entries of `tests/corpus` as HTTP requests, signed, with what must come of them.

Who sends them is another matter: `switchboard corpus` over HTTP, a test into a function.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from devkit import development, facts
from devkit.corpus_values import data, digest, encoded, secret_for, text, twilio_digest
from devkit.errors import UserError
from switchboard.signatures import PRESETS, Scheme, choose

FOLDER = facts.ROOT / "tests" / "corpus"
NAMES = ("signatures", "bodies", "forms", "control_urls", "twiml", "tools")
WEBHOOK, STATUS = "/webhook/vapi", "/voice/status"
ACCEPTED = "accepted"
HANG = '{"message":{"type":"hang"}}'
CALL = "c0ffee00-0000-4000-8000-0000000000c0"  # the call that entries are about
CALL_SID = "CA" + "c0" * 16
MAX_SENT_HEADER = 8_000  # characters; servers of all kinds answer more than that themselves

# What a header may be on the wire; white space around a value is no part of it.
_NAME = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?", re.ASCII)

Entry = dict[str, Any]


class Keys(NamedTuple):
    """What the server under test knows: its secrets, its public URL and how it has Vapi sign."""

    secret: str = development.VAPI_WEBHOOK_SECRET
    token: str = development.TWILIO_AUTH_TOKEN
    base_url: str = development.PUBLIC_BASE_URL
    account_sid: str = development.TWILIO_ACCOUNT_SID
    scheme: Scheme = PRESETS["vapi-hmac"]


class Request(NamedTuple):
    """One request, and what must come of it: `accepted`, or the reason code of the refusal."""

    corpus: str
    name: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    expect: str
    answer: Callable[[bytes], str]
    """Says what is wrong with the body of an accepted request's answer, or ''."""
    frozen: bool = False
    """Only for a server whose clock stands still."""

    @property
    def _is_text(self) -> bool:
        try:
            self.body.decode()
        except UnicodeDecodeError:
            return False
        return True

    @property
    def sendable(self) -> bool:
        """Whether HTTP can carry it to a server as it is: the other ones are for tests that call a function."""
        names, values = [name for name, _ in self.headers], [value for _, value in self.headers]
        carried = all(map(_NAME.fullmatch, names)) and all(map(_VALUE.fullmatch, values))
        return carried and not self.frozen and sum(map(len, values)) <= MAX_SENT_HEADER

    @property
    def status(self) -> int:
        """The HTTP status that the expectation means at this door."""
        if self.expect == "body_too_large":
            return 413
        if self.path == STATUS:
            return 204 if self.expect == ACCEPTED else 403
        if self.expect == ACCEPTED:
            return 200
        return 401 if self.corpus == "signatures" else 400

    def fault(self, status: int, body: bytes) -> str:
        """Say what is wrong with an answer, or ''."""
        if (self.status, status) == (400, 401) and not self._is_text:
            # A gateway in front may have replaced bytes that are no text, and then they are not what was signed.
            return ""
        if status != self.status:
            return f"answered {status}, not {self.status} ({self.expect})"
        return self.answer(body) if self.expect == ACCEPTED else ""


def load(name: str) -> list[Entry]:
    """The entries of one corpus."""
    try:
        lines = (FOLDER / f"{name}.jsonl").read_text().splitlines()
    except OSError as error:
        raise UserError(f"cannot read the corpus {name}: {error.strerror}") from error
    return [json.loads(line) for line in lines]


def requests(name: str, keys: Keys, clock: Callable[[], float]) -> Iterator[Request]:
    """The requests of one corpus for a server that knows `keys`, each signed when it is taken; `clock` is epoch seconds.

    Of `signatures` there are those of the server's scheme only.
    """
    make = {
        "signatures": _signature_request,
        "bodies": _body_request,
        "forms": _form_request,
        "control_urls": _control_request,
        "twiml": _twiml_request,
        "tools": _tool_request,
    }[name]
    for entry in load(name):
        if request := make(entry, keys, clock()):
            yield request


def scheme_of(entry: Entry) -> Scheme:
    """The scheme that an entry of `signatures` is for."""
    return choose(entry["scheme"], entry.get("overrides"))


def _signature_request(entry: Entry, keys: Keys, now: float) -> Request | None:
    scheme = scheme_of(entry)
    if scheme != keys.scheme:
        return None
    signing = scheme._replace(**entry.get("signed_as", {}))
    known = {"secret": secret_for(scheme, keys.secret)}
    timestamp = text(entry.get("timestamp", {"now": 0}), now=now)
    message_id = text(entry.get("id", "msg_corpus"))
    body = data(entry.get("body", HANG))
    secret = text(entry.get("secret", {"use": "secret"}), known.__getitem__)
    proof = digest(signing, secret, timestamp, message_id, body)
    known |= {"timestamp": timestamp, "id": message_id, "digest": proof, "signature": signing.prefix + proof}
    given: Mapping[str, Any] = {
        scheme.signature_header: {"use": "signature"},
        scheme.timestamp_header: {"use": "timestamp"},
        scheme.id_header: {"use": "id"},
        **entry.get("headers", {}),
    }
    sent = [(name, value) for name, value in given.items() if name and value is not None]
    headers = [(name, text(value, known.__getitem__, now)) for name, value in [*sent, *entry.get("more", [])]]
    sent_body = data(entry["sent"]) if "sent" in entry else body
    made = Request("signatures", entry["name"], WEBHOOK, "", headers, sent_body, entry["expect"], _nothing)
    return made._replace(frozen=entry.get("frozen", False))


def _webhook(corpus: str, entry: Entry, keys: Keys, now: float, body: bytes, answer: Callable[[bytes], str]) -> Request:
    timestamp, message_id = str(int(now)), "msg_corpus"
    proof = digest(keys.scheme, secret_for(keys.scheme, keys.secret), timestamp, message_id, body)
    named = {
        keys.scheme.signature_header: keys.scheme.prefix + proof,
        keys.scheme.timestamp_header: timestamp,
        keys.scheme.id_header: message_id,
    }
    headers = [("content-type", "application/json"), *((name, value) for name, value in named.items() if name)]
    return Request(corpus, entry["name"], WEBHOOK, "", headers, body, entry["expect"], answer)


def _body_request(entry: Entry, keys: Keys, now: float) -> Request:
    return _webhook("bodies", entry, keys, now, data(entry["body"]), _an_object)


def _control_request(entry: Entry, keys: Keys, now: float) -> Request:
    """Whatever the URL is, the message is genuine; where it may lead is for a test that sees inside."""
    call = {"id": text(entry.get("call", CALL)), "monitor": {"controlUrl": text(entry["url"])}}
    body = {"type": "status-update", "status": "in-progress", "call": call}
    return _webhook("control_urls", {**entry, "expect": ACCEPTED}, keys, now, _message(body), _nothing)


def _tool_request(entry: Entry, keys: Keys, now: float) -> Request | None:
    """Whatever the model asks for, it is answered, and in the shape that Vapi reads."""
    if "returns" in entry:
        return None
    body = tool_message(entry)
    answer = partial(_results, body["type"], [call.get("id", "") for call in _entries(body)])
    return _webhook("tools", {**entry, "expect": ACCEPTED}, keys, now, _message(body), answer)


def tool_message(entry: Entry) -> Entry:
    """The message with which the model asks for a tool as an entry says."""
    fields = entry.get("message")
    if fields is None:
        arguments = text(entry["arguments"]["json"]) if "json" in entry["arguments"] else entry["arguments"]["given"]
        function = {"name": entry["tool"], "arguments": arguments}
        fields = {"toolCallList": [{"id": "call_corpus", "type": "function", "function": function}]}
    kind = "function-call" if "functionCall" in fields else "tool-calls"
    # A call of its own: the ids of tool calls are unique within a call only.
    own = hashlib.sha256(entry["name"].encode()).hexdigest()[:32]
    return {"type": kind, "call": {"id": own}, **fields}


def _entries(body: Entry) -> list[Entry]:
    """The calls that a message holds, for a reader who knows all of the lists: the first one with any entry counts."""
    for name in ("toolCallList", "toolCalls"):
        if found := _objects(body.get(name)):
            return found
    held = [entry.get("toolCall") for entry in _objects(body.get("toolWithToolCallList"))]
    return [call if isinstance(call, dict) else {} for call in held]


def _objects(held: Any) -> list[Entry]:
    return [entry for entry in held if isinstance(entry, dict)] if isinstance(held, list) else []


def _message(body: Entry) -> bytes:
    return json.dumps({"message": body}).encode()


def _form_request(entry: Entry, keys: Keys, _now: float) -> Request | None:
    base = urlsplit(keys.base_url)
    if entry.get("only", base.scheme) != base.scheme:
        return None
    known = {"sid": CALL_SID, "account": keys.account_sid, "token": keys.token}
    use = known.__getitem__
    query = text(entry.get("query", ""))
    default = [["CallSid", {"use": "sid"}], ["AccountSid", {"use": "account"}]]
    fields = [(text(name, use), text(value, use)) for name, value in entry.get("fields", default)]
    body = data(entry["form"]) if "form" in entry else encoded(fields)
    signed = [(text(name, use), text(value, use)) for name, value in entry.get("signed", fields)]
    url = _signed_url(keys.base_url, STATUS, query, entry.get("url", {}))
    known["signature"] = twilio_digest(url, signed, text(entry.get("token", {"use": "token"}), use))
    headers = [("content-type", text(entry.get("content_type", "application/x-www-form-urlencoded")))]
    if (signature := entry.get("signature", {"use": "signature"})) is not None:
        headers.append(("x-twilio-signature", text(signature, use)))
    headers += [(text(name), text(value, use)) for name, value in entry.get("more", [])]
    return Request("forms", entry["name"], STATUS, query, headers, body, entry["expect"], _nothing)


def _signed_url(base_url: str, path: str, query: str, changes: Mapping[str, str]) -> str:
    """The URL that a sender signs: the public one, but for `changes`."""
    base = urlsplit(base_url)
    parts = {"scheme": base.scheme, "host": base.netloc, "path": base.path + path, "query": query, "fragment": ""}
    if changes.get("scheme") == "other":
        changes = {**changes, "scheme": "http" if base.scheme == "https" else "https"}
    host = changes.get("user", "") + changes.get("host", parts["host"]) + changes.get("port", "")
    parts |= {name: value for name, value in changes.items() if name in parts}
    parts["path"] = parts["path"].replace("$path", base.path + path)
    return urlunsplit((parts["scheme"], host, parts["path"], parts["query"], parts["fragment"]))


def _twiml_request(entry: Entry, keys: Keys, now: float) -> Request | None:
    """Words on their way in: whatever a carrier says of the caller, a signed form with it is genuine."""
    words = text(entry["text"])[:2000]
    if re.search("[\ud800-\udfff]", words):
        return None
    fields = [["CallSid", CALL_SID], ["AccountSid", keys.account_sid], ["CallerName", words]]
    request = _form_request({**entry, "fields": fields, "expect": ACCEPTED}, keys, now)
    return request and request._replace(corpus="twiml")


def _nothing(body: bytes) -> str:
    return "" if body in (b"", b"{}") else f"said {body[:60]!r}"


def _an_object(body: bytes) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    return "" if isinstance(said, dict) else "the answer is no JSON object"


def _results(kind: str, ids: list[Any], body: bytes) -> str:
    """What Vapi would not read of an answer to a tool call."""
    if fault := _an_object(body):
        return fault
    said = json.loads(body)
    if kind == "function-call":
        entries = [{"result": said.get("result")}]
    else:
        entries = said.get("results")
        asked = [call_id if isinstance(call_id, str) else "" for call_id in ids]
        if not isinstance(entries, list) or [entry.get("toolCallId") for entry in entries] != asked:
            return "not every call is answered once, in order"
    for entry in entries:
        lines = [entry[name] for name in ("result", "error") if name in entry]
        if len(lines) != 1 or not isinstance(lines[0], str) or len(lines[0].splitlines()) > 1:
            return "a result is not one line of text"
    return ""
