"""Each promise of the demo is kept by a good call, and broken by exactly the fault that it is about."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from devkit import development, server_messages
from devkit.evidence import RETENTION_SECONDS, Evidence, promises
from devkit.player import FORGED_REASON, Played
from devkit.script import parse
from devkit.server_messages import CANARY, Conversation, ToolOutcome
from devkit.timeline import Moment
from devkit.wire import Exchange, Sent
from switchboard.store import Key
from switchboard.toolcalls import Delivery, Row, State

CALL_ID, CALL_SID = "c-1", "CA" + "1" * 32
STARTED, ENDED = 1_800_000_000.0, 1_800_000_010.0
CALL = {"id": CALL_ID, "customer": {"number": "+15555550134"}, "assistantId": "a"}


class Case:
    """A good call and the table after it; a test breaks one thing."""

    def __init__(self, kind: str = "bypass") -> None:
        self.kind = kind
        self.exchanges: list[Exchange] = []
        self.fields: dict[str, Any] = {
            "twiml": '<Response><Connect><Stream url="wss://x"/></Connect></Response>' if kind == "bypass" else "",
            "call_sid": CALL_SID if kind == "bypass" else "",
            "call_id": CALL_ID,
            "moments": [Moment(STARTED, "phone", "rings")],
            "refused": [401],
            "status_callback": 204,
            "deliveries": [{"at": STARTED + 5, "status": 200, "body": {"type": "say", "content": "Thursday."}}],
            "tools": {
                "find_appointment": [ToolOutcome("Appointment apt_1")],
                "change_appointment": [ToolOutcome("Accepted.", "One moment.")] * 2,
                "send_confirmation": [ToolOutcome("Accepted.")],
            },
        }
        self._messages()
        rows = [
            self._row("find_appointment", "inline"),
            self._row("change_appointment", "live"),
            self._row("send_confirmation", "after_call"),
        ]
        keys = {row.tool: row.idempotency_key for row in rows}
        self.rows = {row.tool: row.item(0) for row in rows}
        self.rows["send_confirmation"]["released_at"] = ENDED * 1000 + 250
        self.calendar: dict[str, Any] = {
            "pk": "AGENT#calendar",
            "sk": "APT#x#apt_1",
            "changes": 1,
            "confirmations": 1,
            "applied": {keys["change_appointment"], keys["send_confirmation"]},
        }
        self.session: dict[str, Any] = {
            "pk": f"CALL#{CALL_ID}",
            "sk": "META",
            "call_sid": CALL_SID,
            "status": "ended",
            "ended_reason": "customer-ended-call",
            "interrupted_at": round((STARTED + 2) * 1000),
            "exp": ENDED + RETENTION_SECONDS,
        }
        self.leg: dict[str, Any] = {"pk": f"SID#{CALL_SID}", "sk": "META", "call_id": CALL_ID, "status": "completed"}
        self.line: dict[str, Any] = {"pk": f"CALL#{CALL_ID}", "sk": "TR#1#user#a", "words": "Thursday, please."}
        self.report: dict[str, Any] = {"pk": f"CALL#{CALL_ID}", "sk": "REPORT", "ended_reason": "customer-ended-call"}
        self.more: list[dict[str, Any]] = []

    def _messages(self) -> None:
        entries = {name: server_messages.tool_call(f"id-{name}", name, {}) for name in self.fields["tools"]}
        record = Conversation(STARTED, "+15555550100")
        self._sent("assistant-request")
        self._sent("user-interrupted")
        self._sent("transcript", role="user", transcriptType="final", transcript="Thursday, please.")
        for name, entry in entries.items():
            message = server_messages.tool_calls(CALL, STARTED + 3, record, [entry])
            self._exchange(message, 2 if name == "change_appointment" else 1)
        self._sent("status-update", status="in-progress")
        self._sent("status-update", status="ended", endedReason="customer-ended-call")
        self._sent("end-of-call-report", endedReason="customer-ended-call")

    def _sent(self, kind: str, **fields: Any) -> None:
        record = Conversation(STARTED, "+15555550100")
        self._exchange(server_messages.message(kind, CALL, STARTED + 2, record, **fields))

    def _exchange(self, message: dict[str, Any], copies: int = 1) -> None:
        self.exchanges.append(Exchange(message, [Sent(STARTED + 2, 200, b"{}", 0.05)] * copies))

    def answer(self, kind: str, **changes: Any) -> None:
        """Change how the last delivery of a message went."""
        exchange = next(one for one in self.exchanges if one.message["message"]["type"] == kind)
        exchange.deliveries[-1] = exchange.deliveries[-1]._replace(**changes)

    def _row(self, tool: str, lane: str) -> Row:
        return Row(
            key=Key(f"CALL#{CALL_ID}", f"TOOL#id-{tool}"),
            state=State.SUCCEEDED,
            tool=tool,
            lane=lane,
            effect="keyed",
            arguments="{}",
            digest="d",
            emitted_at=0,
            accepted_at=0,
            deadline=0,
            delivery=Delivery.DELIVERED if lane == "live" else Delivery.NONE,
        )

    def evidence(self) -> Evidence:
        script = parse({"call": {"kind": self.kind, "from": "+15555550134"}, "steps": ["report"]}, "x")
        played = Played(script=script, started=STARTED, ended=ENDED, exchanges=self.exchanges, **self.fields)
        single = [self.calendar, self.session, self.leg, self.line, self.report]
        return Evidence(played, [*self.rows.values(), *single, *self.more])

    def broken(self) -> list[str]:
        return [promise.promised for promise in promises(self.evidence()) if not promise.ok]


@pytest.mark.parametrize("kind", ["bypass", "imported"])
def test_a_good_call_keeps_every_promise(kind: str) -> None:
    made = promises(Case(kind).evidence())

    assert [promise.promised for promise in made if not promise.ok] == []
    assert len(made) == (18 if kind == "bypass" else 16)


def second_row(case: Case) -> None:
    case.more.append(case.rows["change_appointment"] | {"sk": "TOOL#another"})


def tell(case: Case, **changes: Any) -> None:
    case.fields["deliveries"] = [case.fields["deliveries"][0] | changes]


BREAKS: list[tuple[str, Callable[[Case], object], list[str]]] = [
    (
        "secret in TwiML",
        lambda case: case.fields.update(twiml=case.fields["twiml"] + development.VAPI_API_KEY),
        ["TwiML"],
    ),
    ("no stream", lambda case: case.fields.update(twiml="<Response/>"), ["TwiML"]),
    ("leg of another call", lambda case: case.leg.update(call_id="c-2"), ["phone leg and the call"]),
    ("session without leg", lambda case: case.session.update(call_sid=""), ["phone leg and the call"]),
    (
        "a moment amiss",
        lambda case: case.fields["moments"].append(Moment(STARTED, "tool", "late", ok=False)),
        ["its script"],
    ),
    ("a message refused", lambda case: case.answer("transcript", status=503), ["answered with 200"]),
    (
        "inline tool failed",
        lambda case: case.fields["tools"].update(find_appointment=[ToolOutcome("no", failed=True)]),
        ["own response"],
    ),
    ("other interruption", lambda case: case.session.update(interrupted_at=1), ["interruption"]),
    ("no interruption", lambda case: case.session.pop("interrupted_at"), ["interruption"]),
    (
        "other words for the duplicate",
        lambda case: case.fields["tools"].update(
            change_appointment=[ToolOutcome("a", "One."), ToolOutcome("a", "Two.")]
        ),
        ["meanwhile"],
    ),
    ("no words", lambda case: case.fields["tools"].update(change_appointment=[ToolOutcome("a")] * 2), ["meanwhile"]),
    ("acted twice", lambda case: case.calendar.update(changes=2), ["acts once"]),
    ("never acted", lambda case: case.calendar.update(applied=set()), ["acts once", "after the call"]),
    ("two rows", second_row, ["acts once", "into the live call", "each tool call"]),
    ("heard twice", lambda case: case.fields.update(deliveries=case.fields["deliveries"] * 2), ["into the live call"]),
    ("never heard", lambda case: case.fields.update(deliveries=[]), ["into the live call"]),
    ("heard too late", lambda case: tell(case, at=ENDED + 1), ["into the live call"]),
    ("said to nobody", lambda case: tell(case, status=404), ["into the live call"]),
    (
        "not said aloud",
        lambda case: tell(
            case, body={"type": "add-message", "message": {"content": "x"}, "triggerResponseEnabled": False}
        ),
        ["into the live call"],
    ),
    (
        "delivery unknown",
        lambda case: case.rows["change_appointment"].update(delivery="undeliverable"),
        ["into the live call"],
    ),
    (
        "delivery open",
        lambda case: case.rows["change_appointment"].update(delivery="claimed"),
        ["into the live call", "each tool call"],
    ),
    ("forgery taken", lambda case: case.fields.update(refused=[200]), ["forged"]),
    ("forgery stored", lambda case: case.more.append({"pk": "X", "sk": "Y", "note": FORGED_REASON}), ["forged"]),
    (
        "ran during the call",
        lambda case: case.rows["send_confirmation"].update(released_at=ENDED * 1000 - 1),
        ["after the call"],
    ),
    ("sent twice", lambda case: case.calendar.update(confirmations=2), ["after the call"]),
    ("never sent", lambda case: case.calendar.update(confirmations=0), ["after the call"]),
    (
        "after-call tool refused",
        lambda case: case.fields["tools"].update(send_confirmation=[ToolOutcome("no", failed=True)]),
        ["after the call"],
    ),
    ("tool failed", lambda case: case.rows["find_appointment"].update(state="FAILED"), ["each tool call"]),
    (
        "tool open",
        lambda case: case.rows["send_confirmation"].update(state="RUNNING"),
        ["after the call", "each tool call"],
    ),
    ("tool call lost", lambda case: case.rows.pop("find_appointment"), ["each tool call"]),
    ("not ended", lambda case: case.session.update(status="in-progress"), ["session has ended"]),
    ("ended by a forger", lambda case: case.session.update(ended_reason="other"), ["session has ended"]),
    ("kept for ever", lambda case: case.session.update(exp=ENDED + 10 * RETENTION_SECONDS), ["expires"]),
    ("gone at once", lambda case: case.session.update(exp=ENDED), ["expires"]),
    ("words lost", lambda case: case.line.update(sk="X"), ["what was said"]),
    ("words not said", lambda case: case.line.update(words="Friday"), ["what was said"]),
    ("no report", lambda case: case.report.update(sk="X"), ["report"]),
    ("callback refused", lambda case: case.fields.update(status_callback=503), ["status callback"]),
    ("callback not merged", lambda case: case.leg.update(status="ringing"), ["status callback"]),
    ("credential stored", lambda case: case.more.append({"pk": "X", "sk": "Y", "x": CANARY}), ["no credential"]),
    ("control URL stored", lambda case: case.session.update(url="http://127.0.0.1:1/c-1/control"), ["no credential"]),
]


@pytest.mark.parametrize(("break_it", "told"), [one[1:] for one in BREAKS], ids=[one[0] for one in BREAKS])
def test_a_fault_breaks_the_promise_that_it_is_about(break_it: Callable[[Case], object], told: list[str]) -> None:
    case = Case()
    break_it(case)
    broken = case.broken()

    assert len(broken) == len(told), broken
    assert all(any(words in promise for promise in broken) for words in told), broken


def test_an_imported_call_promises_an_assistant_in_time() -> None:
    slow, refused = Case("imported"), Case("imported")
    slow.answer("assistant-request", seconds=7.6)
    refused.answer("assistant-request", status=500)

    assert [promise.split(" ")[0] for promise in slow.broken()] == ["assistant-request"]
    assert refused.broken()[0].startswith("assistant-request is answered by the agent")


def test_a_call_is_settled_when_nothing_of_it_is_unfinished() -> None:
    case = Case()
    assert case.evidence().settled

    case.rows["change_appointment"]["delivery"] = "pending"
    assert not case.evidence().settled


def test_what_was_seen_names_no_secret() -> None:
    case = Case()
    case.more.append({"pk": "X", "sk": "Y", "x": development.VAPI_API_KEY})

    assert development.VAPI_API_KEY not in json.dumps(promises(case.evidence()))


def test_on_a_stack_with_a_past_only_what_this_call_did_counts() -> None:
    case = Case()
    case.calendar |= {"changes": 3, "confirmations": 2}
    past = case.calendar | {"changes": 2, "confirmations": 1}

    made = promises(case.evidence()._replace(before=[past]))
    assert [promise.promised for promise in made if not promise.ok] == []
    assert len(case.broken()) == 2
