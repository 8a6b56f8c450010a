"""Vapi's server messages: read tolerantly (every documented and captured shape), answered strictly.

Shapes: https://docs.vapi.ai/server-url/events and the `ServerMessage*` schemas of Vapi's OpenAPI. There is no event id;
`message.call.id` is what ties messages together. Standard library only: this is on every cold path.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from switchboard.errors import MessageRefused

MAX_DEPTH = 64
MAX_DIGITS = 38  # of a number in DynamoDB
MANY = 20_000  # so many entries of lists, and so many different keys, are always taken
MIN_ENTRY = 20  # bytes of a list's entry, on average, where there are more; a word with its confidence has 30
MAX_TEXT = 16 * 1024  # of a tool's result; all of it stays in the model's context for the rest of the call
HOOK_CALL_ID = "hook-function-call"  # the constant id of tool calls that Vapi's hooks fire
LEGACY_CALL_ID = "function-call"  # stands for the id that the old `function-call` message does not have

_MARKS = b'"[]{}:,0123456789eE'
_NO_MARKS = bytes(code for code in range(256) if code not in _MARKS)
_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_LISTS = bytes.maketrans(b"{}", b"[]")
_LARGE = (b"0" * (MAX_DIGITS + 1), b"e000")  # only a number that looks so can be too long or too large
_TOO_LONG = 10**MAX_DIGITS
_INFINITY = float("inf")
_KEY = re.compile(rb'"([^"]*)"\s*:')
_PART = 256 * 1024  # bytes that are searched for keys at a time
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)  # a phone number that can be dialled
_CALL_ID = re.compile(r"[A-Za-z0-9_\-]{1,100}", re.ASCII)
_ROLE = re.compile(r"[A-Za-z_\-]{1,40}", re.ASCII)  # it becomes part of a key
_REASON = re.compile(r"[A-Za-z0-9._\-]{1,120}", re.ASCII)
_CALL_SID = re.compile(r"CA[0-9a-f]{32}", re.ASCII)
_DIAL = re.compile(r"[0-9a-f]{32}", re.ASCII)
# Halves of surrogate pairs are in it too: no table and no answer can hold them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class ToolCall(NamedTuple):
    """One request by the model to run a tool. `arguments` is None where what came is not a JSON object."""

    id: str
    name: str
    arguments: dict[str, Any] | None


class Message:
    """One Vapi server message. Every reader returns a plain value or an empty one; none raises."""

    __slots__ = ("body", "call", "type")

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.type: str = body["type"]
        self.call = _object(body.get("call"))

    @property
    def call_id(self) -> str:
        """Vapi's call id, or '' for messages that belong to no call."""
        return _matching(_CALL_ID, self.call.get("id"))

    @property
    def org_id(self) -> str:
        """The organisation that the call belongs to."""
        return _text(self.call.get("orgId"))

    @property
    def assistant_id(self) -> str:
        """The stored assistant, or '' for a transient one."""
        return _text(self.call.get("assistantId")) or _text(_object(self.body.get("assistant")).get("id"))

    @property
    def timestamp(self) -> int:
        """Epoch milliseconds, or 0. Older captures carry an ISO 8601 string instead of a number."""
        return milliseconds(self.body.get("timestamp"))

    @property
    def status(self) -> str:
        """`message.status`; the call's own `status` is a snapshot that lags behind."""
        return _text(self.body.get("status"))

    @property
    def role(self) -> str:
        """Who spoke: `user`, `assistant`."""
        return _matching(_ROLE, self.body.get("role"))

    @property
    def ended_reason(self) -> str:
        """An open set of several hundred codes; classify by prefix."""
        return _matching(_REASON, self.body.get("endedReason") or self.call.get("endedReason"))

    @property
    def customer_number(self) -> str:
        """The caller's number as the carrier gave it: a hint, not an identity."""
        for holder in (self.call, self.body):
            number = _text(_object(holder.get("customer")).get("number"))
            if number:
                return number
        return ""

    @property
    def dialled_number(self) -> str:
        """The number that was called."""
        for holder in (self.body, self.call):
            number = _text(_object(holder.get("phoneNumber")).get("number"))
            if number:
                return number
        return ""

    @property
    def call_sid(self) -> str:
        """Twilio's CallSid of the same conversation, where Vapi knows it."""
        for value in (
            _object(self.call.get("transport")).get("callSid"),
            self.call.get("phoneCallProviderId"),
            *self._our_legs(),
        ):
            if sid := _matching(_CALL_SID, value):
                return sid
        return ""

    @property
    def phone_is_ours(self) -> bool:
        """Whether we brought the phone leg to Vapi, so that only we can move it."""
        return any(_matching(_CALL_SID, value) for value in self._our_legs())

    def _our_legs(self) -> list[Any]:
        """The CallSid where we put it: into the metadata of `POST /call`, or an X- header, which Vapi makes a variable."""
        variables = _object(_object(self.call.get("assistantOverrides")).get("variableValues"))
        return [*(metadata.get("callSid") for metadata in self._metadata()), variables.get("call_sid")]

    @property
    def dial(self) -> str:
        """Which of our own requests the call came of, '' for all calls that we did not place."""
        return next((dial for data in self._metadata() if (dial := _matching(_DIAL, data.get("dial")))), "")

    def _metadata(self) -> list[dict[str, Any]]:
        holders = (self.call, _object(self.call.get("assistantOverrides")), _object(self.body.get("assistant")))
        return [_object(holder.get("metadata")) for holder in holders]

    @property
    def control_url(self) -> str:
        """Where to speak into the live call. A capability: never stored, never logged."""
        return _text(_object(self.call.get("monitor")).get("controlUrl"))

    @property
    def transcript(self) -> str:
        """The words of a final transcript, or '' for a partial one and for other messages."""
        final = _text(self.body.get("transcriptType")) == "final" or 'transcriptType="final"' in self.type
        return _text(self.body.get("transcript")) if final else ""

    def tool_calls(self) -> list[ToolCall]:
        """The tools that the model wants to run, in order, whichever of Vapi's shapes they came in."""
        return [_tool_call(entry) for entry in self._tool_entries()]

    def _tool_entries(self) -> list[dict[str, Any]]:
        if legacy := _object(self.body.get("functionCall")):
            return [{"id": LEGACY_CALL_ID, "function": legacy}]
        for name in ("toolCallList", "toolCalls"):
            if entries := _objects(self.body.get(name)):
                return entries
        return [_object(entry.get("toolCall")) for entry in _objects(self.body.get("toolWithToolCallList"))]


def read(body: bytes) -> Message:
    """Read a verified body; `MessageRefused` 400 for anything that is not `{"message": {"type": "…"}}`."""
    document = parse(body)
    if not isinstance(document, dict) or not isinstance(document.get("message"), dict):
        raise MessageRefused(400, "no_message")
    message = document["message"]
    if not isinstance(message.get("type"), str) or not message["type"]:
        raise MessageRefused(400, "no_type")
    return Message(message)


def parse(body: bytes) -> Any:
    """Parse strict JSON: UTF-8, bounded depth and numbers, no NaN, no key twice; `MessageRefused` 400 otherwise.

    413 where lists and objects hold so much that reading them takes longer than reading any real message.
    """
    marks = _marks(body)
    structure = _structure(marks)
    if _too_deep(structure):
        raise MessageRefused(400, "too_deep")
    if _too_wide(structure, body):
        raise MessageRefused(413, "body_too_large")
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MessageRefused(400, "not_json") from error
    containers = _containers(document)
    # Two readers of one body must not see two different values: a key that stood twice has left a colon without a member.
    if sum(len(one) for one in containers if type(one) is dict) != structure.count(b":"):
        raise MessageRefused(400, "not_json")
    if any(sign in marks for sign in _LARGE) and not all(map(_numbers_fit, containers)):
        raise MessageRefused(400, "not_json")
    # A JavaScript sender can cut an emoji in half; losing the whole report over it would be worse.
    return _repaired(document) if _SURROGATE.search(body) else document


def _marks(body: bytes) -> bytes:
    """The quotes, brackets, colons, commas, digits (each as 0) and exponents of JSON, in texts and between them."""
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return unescaped.translate(_ALIKE, _NO_MARKS)


def _structure(marks: bytes) -> bytes:
    """The brackets, colons and commas that stand between the texts."""
    # Most texts have none of them, and are gone before the others are cut out one by one.
    return b"".join(marks.translate(None, b"0e").replace(b'""', b"").split(b'"')[::2])


def _too_deep(structure: bytes) -> bool:
    skeleton = structure.translate(_LISTS, _NOT_BRACKETS)
    # Each round removes the innermost pairs, so what is left after MAX_DEPTH rounds is deeper, or unbalanced.
    for _ in range(MAX_DEPTH):
        outer = skeleton.replace(b"[]", b"")
        if not outer:
            return False
        if len(outer) == len(skeleton) or b"[" * (MAX_DEPTH + 1) in outer:
            return True
        skeleton = outer
    return True


def _too_wide(structure: bytes, body: bytes) -> bool:
    """Short entries or different keys by the ten thousand, which take longest to read. Nothing that Vapi sends has them."""
    members = structure.count(b":")
    # Each colon has a comma or an opening brace before its key; all others begin an entry, or end an empty list.
    entries = sum(map(structure.count, (b",", b"[", b"{"))) - members
    if entries > max(MANY, len(body) // MIN_ENTRY):
        return True
    keys: set[bytes] = set()
    for start in range(0, len(body), _PART) if members > MANY else ():
        keys.update(_KEY.findall(body, start, start + _PART))
        if len(keys) > MANY:
            return True
    return False


def _containers(document: Any) -> list[dict[str, Any] | list[Any]]:
    """Every list and object of a document, and a list with the document itself."""
    found: list[Any] = [[document]]
    level = found
    while level:
        within = (one.values() if type(one) is dict else one for one in level)
        level = [value for values in within for value in values if type(value) is dict or type(value) is list]
        found += level
    return found


def _numbers_fit(container: dict[str, Any] | list[Any]) -> bool:
    values = container.values() if type(container) is dict else container
    if _INFINITY in values or -_INFINITY in values:
        return False
    return not [value for value in values if type(value) is int and not -_TOO_LONG < value < _TOO_LONG]


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_repaired(item) for item in value]
    if isinstance(value, dict):
        return {_repaired(key): _repaired(item) for key, item in value.items()}
    return value


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def milliseconds(value: Any) -> int:
    """Epoch milliseconds from a number of milliseconds or an ISO 8601 text; 0 where it is neither."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int | float):
        return int(value) if 0 < value < 1e14 else 0
    if isinstance(value, str):
        from datetime import datetime  # only old captures carry text

        try:
            return milliseconds(datetime.fromisoformat(value).timestamp() * 1000)
        except (ValueError, OverflowError):
            return 0
    return 0


def _tool_call(entry: Mapping[str, Any]) -> ToolCall:
    function = _object(entry.get("function"))
    places = ((function, "arguments"), (function, "parameters"), (entry, "arguments"), (entry, "parameters"))
    given: Any = next((holder[name] for holder, name in places if holder.get(name) is not None), {})
    return ToolCall(
        id=_text(entry.get("id")),
        name=_text(function.get("name")) or _text(entry.get("name")),
        arguments=_arguments(given),
    )


def _arguments(given: Any) -> dict[str, Any] | None:
    if isinstance(given, str):
        try:
            given = parse(given.encode("utf-8", "replace")) if given.strip() else {}
        except MessageRefused:
            return None
    return given if isinstance(given, dict) else None


class ToolAnswer(NamedTuple):
    """What the model reads (`result` or `error`, one line) and, where given, the words that are spoken instead."""

    call: ToolCall
    result: str = ""
    error: str = ""
    spoken: str = ""


def tool_results(answers: Iterable[ToolAnswer]) -> dict[str, Any]:
    """The answer to `tool-calls`: HTTP 200, every call once and in order, one-line texts. Vapi ignores all else."""
    return {"results": [_result(answer) for answer in answers]}


def _result(answer: ToolAnswer) -> dict[str, Any]:
    entry: dict[str, Any] = {"toolCallId": answer.call.id, "name": answer.call.name}
    if answer.error:
        entry["error"] = one_line(answer.error)
    else:
        entry["result"] = one_line(answer.result)
    if answer.spoken:
        kind = "request-failed" if answer.error else "request-complete"
        entry["message"] = {"type": kind, "content": one_line(answer.spoken, 1000)}
    return entry


def legacy_result(answers: Iterable[ToolAnswer]) -> dict[str, Any]:
    """The answer to the old `function-call`: one result, no id."""
    for answer in answers:
        return {"result": one_line(answer.error or answer.spoken or answer.result)}
    return {}


def one_line(text: str, limit: int = MAX_TEXT) -> str:
    """Vapi drops a result with a line break, so white space and control characters become single spaces."""
    return " ".join(_CONTROL.sub(" ", text).split())[:limit]


class Assistant(NamedTuple):
    """An answer of the agent: talk to this assistant, stored (`id`) or given whole (`config`)."""

    id: str = ""
    config: Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] | None = None


class Refusal(NamedTuple):
    """An answer of the agent: say `words` and end the call."""

    words: str


class Transfer(NamedTuple):
    """An answer of the agent: no assistant, put the caller through to `number` (E.164)."""

    number: str
    words: str = ""


Decision = Assistant | Refusal | Transfer


def assistant_answer(decision: Decision) -> dict[str, Any]:
    """The answer to `assistant-request`."""
    match decision:
        case Refusal(words):
            return {"error": one_line(words)}
        case Transfer(number, words):
            return {"destination": {"type": "number", "number": number, "message": one_line(words)}}
        case Assistant():
            return assistant_fields(decision)


def assistant_fields(assistant: Assistant) -> dict[str, Any]:
    """How an assistant is named, both in an answer to `assistant-request` and in `POST /call`."""
    fields: dict[str, Any] = {"assistantId": assistant.id} if assistant.id else {"assistant": assistant.config}
    if assistant.overrides:
        fields["assistantOverrides"] = dict(assistant.overrides)
    return fields


def destination_answer(destination: Mapping[str, Any] | None, words: str) -> dict[str, Any]:
    """The answer to `transfer-destination-request`: where to, or in `words` why not."""
    return {"destination": dict(destination)} if destination else {"error": one_line(words)}


def handoff_answer(destination: Mapping[str, Any] | None, words: str) -> dict[str, Any]:
    """The answer to `handoff-destination-request`: here the destination must be there, and an empty one is none."""
    return {"destination": dict(destination)} if destination else {"destination": {}, "error": one_line(words)}


def sendable(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of what the agent's code answers; `TypeError` or `ValueError` where it cannot go out as JSON."""
    made = dict(answer)
    json.dumps(made, ensure_ascii=False, allow_nan=False).encode()
    return made


def canonical(arguments: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """One byte form per meaning, so that equal arguments compare and hash equal."""
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
