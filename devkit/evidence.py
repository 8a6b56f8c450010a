"""What was promised about a call, beside what was seen of it: in the answers, at the fakes, and in the table."""

import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from boto3.dynamodb.types import TypeDeserializer

from devkit import development
from devkit.player import FORGED_REASON, Played, speaks
from devkit.server_messages import CANARY
from devkit.timeline import Promise
from devkit.wire import ASSISTANT_REQUEST_SECONDS
from switchboard.toolcalls import Delivery, Row, State

RETENTION_SECONDS = 24 * 3600  # the template's default
SLACK_SECONDS = 60
SETTLE_SECONDS = 20.0
POLL_SECONDS = 0.2
CHANGE, CONFIRM, FIND = "change_appointment", "send_confirmation", "find_appointment"

type Item = Mapping[str, Any]


class Evidence(NamedTuple):
    """A call that was played, the table after it, and, on a stack with a past, the table before it."""

    played: Played
    items: Sequence[Item]
    before: Sequence[Item] = ()

    def item(self, pk: str, sk: str = "META") -> Item:
        """One item, or an empty one."""
        return next((item for item in self.items if (item["pk"], item["sk"]) == (pk, sk)), {})

    def of_call(self, prefix: str) -> list[Item]:
        """The items of this call of one kind."""
        pk = f"CALL#{self.played.call_id}"
        return [item for item in self.items if item["pk"] == pk and item["sk"].startswith(prefix)]

    @property
    def session(self) -> Item:
        """The call's own item."""
        return self.item(f"CALL#{self.played.call_id}")

    @property
    def leg(self) -> Item:
        """Twilio's side of the call."""
        return self.item(f"SID#{self.played.call_sid}")

    @property
    def rows(self) -> list[Row]:
        """The tool calls."""
        return [Row.of(dict(item)) for item in self.of_call("TOOL#")]

    @property
    def parts(self) -> list["Evidence"]:
        """One for each call at Vapi that this phone call has been, the present one last."""
        transfer = self.played.transfer
        return [*([self._replace(played=transfer.before)] if transfer else []), self]

    @property
    def settled(self) -> bool:
        """Whether nothing of the call is unfinished."""
        unfinished = (Delivery.PENDING, Delivery.CLAIMED)
        rows = [row for part in self.parts for row in part.rows]
        return all(row.state.settled and row.delivery not in unfinished for row in rows)

    def applied(self, tool: str) -> Item:
        """The appointment that this call's use of a tool was applied to, or an empty one."""
        keys = {row.idempotency_key for row in self.rows if row.tool == tool}
        calendar = (item for item in self.items if item["pk"] == "AGENT#calendar")
        return next((item for item in calendar if keys & item.get("applied", set())), {})

    def effects(self, tool: str, counter: str) -> int:
        """How often the calendar counted an effect while the call was played, at what this call's tool was applied to."""
        after = self.applied(tool)
        earlier = (item for item in self.before if (item["pk"], item["sk"]) == (after.get("pk"), after.get("sk")))
        return int(after.get(counter, 0)) - int(next(earlier, {}).get(counter, 0))


def collect(
    played: Played, dynamodb: Any, table: str, *, before: Sequence[Item] = (), seconds: float = SETTLE_SECONDS
) -> Evidence:
    """Wait until nothing of the call is unfinished, for so long at most, and take what is in the table then."""
    deadline = time.monotonic() + seconds
    seen = Evidence(played, everything(dynamodb, table), before)
    while not seen.settled and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        seen = seen._replace(items=everything(dynamodb, table))
    return seen


def everything(dynamodb: Any, table: str) -> list[Item]:
    """All items of the table."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [{name: _plain(value) for name, value in item.items()} for page in pages for item in page["Items"]]


def _plain(value: Any) -> Any:
    read = TypeDeserializer().deserialize(value)
    return int(read) if isinstance(read, Decimal) else read  # this project stores whole numbers only


def promises(seen: Evidence) -> list[Promise]:
    """What must hold after a call of the example agent, as far as its script goes."""
    bypass = seen.played.script.call.kind == "bypass"
    made = [_twiml(seen), _leg_linked(seen)] if bypass else [_assistant_chosen(seen)]
    made += [_as_the_script_says(seen), _all_taken(seen)]
    used = seen.played.tools
    made += [_inline(seen)] if FIND in used else []
    made += [_interruption(seen)] if _sent(seen.played, "user-interrupted") else []
    made += [meanwhile(seen, CHANGE), _acts_once(seen), _spoken_once(seen)] if CHANGE in used else []
    made += [_forgery(seen)] if seen.played.refused else []
    made += [_after_call(seen)] if CONFIRM in used else []
    made += [_tools_final(seen), _ended(seen), _expires(seen), _transcripts(seen), _report(seen)]
    made += [_leg_ended(seen)] if bypass else []
    return [*made, _nothing_leaked(seen)]


def of_part(seen: Evidence) -> list[Promise]:
    """What must hold of each call at Vapi that a phone call has been."""
    made = [_twiml(seen), _leg_linked(seen), _all_taken(seen), _tools_final(seen)]
    return [*made, _ended(seen), _expires(seen), _transcripts(seen), _report(seen)]


def of_whole(seen: Evidence) -> list[Promise]:
    """What must hold of the phone call, whatever it has been at Vapi."""
    return [_as_the_script_says(seen), _leg_ended(seen), _nothing_leaked(seen)]


def _sent(played: Played, kind: str) -> list[dict[str, Any]]:
    inner = [exchange.message["message"] for exchange in played.exchanges]
    return [message for message in inner if message["type"] == kind]


def _twiml(seen: Evidence) -> Promise:
    twiml = seen.played.twiml
    leaked = [name for name, secret in development.SECRETS.items() if secret in twiml]
    said = "connected, " + (f"holds {', '.join(leaked)}" if leaked else "none of the secrets in it")
    connected = "<Stream" in twiml and bool(seen.played.call_id)
    return Promise(
        "Twilio gets TwiML that connects the caller, without a secret",
        said if connected else "not connected",
        connected and not leaked,
    )


def _leg_linked(seen: Evidence) -> Promise:
    linked = seen.played.call_id in (seen.leg.get("call_id"), *seen.leg.get("calls", ()))
    both = linked and seen.session.get("call_sid") == seen.played.call_sid
    return Promise("the phone leg and the call know each other", "both items do" if both else "they do not", both)


def _assistant_chosen(seen: Evidence) -> Promise:
    asked = next(one for one in seen.played.exchanges if one.message["message"]["type"] == "assistant-request")
    seconds = asked.deliveries[0].seconds
    return Promise(
        f"assistant-request is answered by the agent, before Vapi gives up at {ASSISTANT_REQUEST_SECONDS:g} s",
        f"{asked.deliveries[0].status}, {seconds:.2f} s",
        asked.accepted and seconds < ASSISTANT_REQUEST_SECONDS,
    )


def _as_the_script_says(seen: Evidence) -> Promise:
    unmet = seen.played.unmet
    return Promise("the call goes as its script says", unmet[0] if unmet else "no difference", not unmet)


def _all_taken(seen: Evidence) -> Promise:
    sent = [delivery for exchange in seen.played.exchanges for delivery in exchange.deliveries]
    taken = [delivery for delivery in sent if delivery.status == 200]
    return Promise("every signed message is answered with 200", f"{len(taken)} of {len(sent)}", taken == sent)


def _inline(seen: Evidence) -> Promise:
    answers = seen.played.tools[FIND]
    good = all("apt_" in answer.read and not answer.failed for answer in answers)
    return Promise(f"{FIND} is answered in the webhook's own response", answers[0].read or answers[0].fault, good)


def _interruption(seen: Evidence) -> Promise:
    stamp = max(message["timestamp"] for message in _sent(seen.played, "user-interrupted"))
    known = seen.session.get("interrupted_at")
    return Promise(
        "the interruption is a time in the session",
        "the time it was sent with" if known == stamp else f"{known}",
        known == stamp,
    )


def meanwhile(seen: Evidence, tool: str) -> Promise:
    """However often the webhook of a background tool comes, the caller hears the same words."""
    answers = seen.played.tools.get(tool, [])
    words = {answer.spoken for answer in answers}
    return Promise(
        f"{tool}: every webhook is answered at once with the same meanwhile words",
        f"{len(answers)} x “{'”, “'.join(sorted(words))}”",
        len(words) == 1 and "" not in words,
    )


def _acts_once(seen: Evidence) -> Promise:
    rows = [row for row in seen.rows if row.tool == CHANGE]
    changes = seen.effects(CHANGE, "changes")
    webhooks = len(seen.played.tools[CHANGE])
    return Promise(
        f"{CHANGE} acts once, however often its webhook arrives",
        f"{webhooks} webhook{'s' * (webhooks > 1)}, {len(rows)} tool call, {changes} change in the calendar",
        len(rows) == 1 and changes == 1,
    )


def _spoken_once(seen: Evidence) -> Promise:
    played = seen.played
    heard = [one for one in played.deliveries if one["status"] == 200 and speaks(one["body"])]
    states = [row.delivery.value for row in seen.rows if row.tool == CHANGE]
    late = [one["at"] - played.started for one in heard if one["at"] < played.ended]
    return Promise(
        "its result is spoken into the live call, once",
        f"{len(heard)} time{'s' * (len(heard) != 1)}, {', '.join(states)}" + "".join(f", at {at:.1f} s" for at in late),
        len(late) == len(heard) == 1 and states == [Delivery.DELIVERED.value],
    )


def _forgery(seen: Evidence) -> Promise:
    refused = set(seen.played.refused) <= {401, 403}
    traces = [item["sk"] for item in seen.items if FORGED_REASON in _text(item)]
    statuses = ", ".join(map(str, seen.played.refused))
    return Promise(
        "a forged webhook is refused and leaves no trace",
        f"{statuses}, {f'traces in {traces}' if traces else 'no trace in the table'}",
        refused and not traces,
    )


def _after_call(seen: Evidence) -> Promise:
    rows = seen.of_call("TOOL#")
    row = next((item for item in rows if item["tool"] == CONFIRM), {})
    sent = seen.effects(CONFIRM, "confirmations")
    after = row.get("released_at", 0) - seen.played.ended * 1000
    accepted = all(not answer.fault and not answer.failed for answer in seen.played.tools[CONFIRM])
    return Promise(
        f"{CONFIRM} is accepted at once and runs after the call, once",
        f"let go {after / 1000:.2f} s after the end, {row.get('state')}, {sent} confirmation",
        accepted and after >= 0 and row.get("state") == State.SUCCEEDED and sent == 1,
    )


def _tools_final(seen: Evidence) -> Promise:
    states = [f"{row.tool} {row.state}" for row in seen.rows]
    distinct = {entry["id"] for message in _sent(seen.played, "tool-calls") for entry in message["toolCallList"]}
    good = all(row.state is State.SUCCEEDED for row in seen.rows) and len(seen.rows) == len(distinct)
    return Promise("each tool call has succeeded, none is left open", ", ".join(states), good and seen.settled)


def _ended(seen: Evidence) -> Promise:
    status, reason = seen.session.get("status"), seen.session.get("ended_reason")
    sent = [message["endedReason"] for message in _sent(seen.played, "status-update") if message["status"] == "ended"]
    return Promise("the session has ended", f"{status}: {reason}", status == "ended" and [reason] == sent)


def _expires(seen: Evidence) -> Promise:
    left = float(seen.session.get("exp", 0)) - seen.played.ended
    return Promise(
        "and expires when the retention time after its end is over",
        f"{left / 3600:.1f} h after its end",
        abs(left - RETENTION_SECONDS) < SLACK_SECONDS,
    )


def _transcripts(seen: Evidence) -> Promise:
    said = {message["transcript"] for message in _sent(seen.played, "transcript")}
    kept = {str(item["words"]) for item in seen.of_call("TR#")}
    return Promise("what was said is kept, final utterances only", f"{len(kept)} of {len(said)}", said == kept)


def _report(seen: Evidence) -> Promise:
    report = seen.item(f"CALL#{seen.played.call_id}", "REPORT")
    sent = [message["endedReason"] for message in _sent(seen.played, "end-of-call-report")]
    kept = report.get("ended_reason")
    return Promise("the end-of-call report is kept", f"{kept}: {report.get('summary', 'no summary')}", [kept] == sent)


def _leg_ended(seen: Evidence) -> Promise:
    status = seen.leg.get("status")
    return Promise(
        "Twilio's status callback closes the phone leg",
        f"{seen.played.status_callback}, {status}",
        200 <= seen.played.status_callback < 300 and status == "completed",
    )


def _nothing_leaked(seen: Evidence) -> Promise:
    everything = "".join(_text(item) for item in seen.items)
    forbidden = {**development.SECRETS, "a credential of Vapi's messages": CANARY, "a control URL": "/control"}
    found = [name for name, text in forbidden.items() if text in everything]
    return Promise(
        "no credential and no control URL is stored", ", ".join(found) or f"none in {len(seen.items)} items", not found
    )


def _text(item: Item) -> str:
    return json.dumps(item, default=str)
