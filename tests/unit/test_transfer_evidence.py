"""Each promise about a transferred call is broken by exactly what it promises."""

from collections.abc import Callable
from typing import Any

import pytest

from devkit import development, server_messages
from devkit.evidence import RETENTION_SECONDS, Evidence
from devkit.player import Played, Transfer
from devkit.script import parse
from devkit.server_messages import Conversation, ToolOutcome
from devkit.transfer_evidence import promises
from devkit.wire import Exchange, Sent
from switchboard.store import Key
from switchboard.toolcalls import Delivery, Row, State

STARTED, MOVED, ENDED = 1_000_000.0, 1_000_005.0, 1_000_015.0
FIRST, SECOND = "call-1", "call-2"
SID, PERSON = "CA" + "1" * 32, "CA" + "2" * 32
RECEPTION = "+15550100100"
SUMMARY = "Ana has a question."
TAKEN, ENDING = "call.in-progress.twilio-completed-call", "assistant-ended-call"
SORRY = "I am sorry, nobody picked up. What else can I do for you?"
STREAM = '<Response><Connect><Stream url="wss://vapi.invalid/x"/></Connect></Response>'


class Case:
    """A good transferred call, of which a test breaks one thing."""

    def __init__(self) -> None:
        self.exchanges = {FIRST: self._messages(FIRST, TAKEN), SECOND: self._messages(SECOND, ENDING)}
        arguments = {"person": "reception", "summary": SUMMARY}
        entry = server_messages.tool_call("id-1", "transfer_to_person", arguments)
        body = server_messages.tool_calls({"id": FIRST}, STARTED, Conversation(STARTED, "+1"), [entry])
        self.exchanges[FIRST].append(Exchange(body, [Sent(STARTED, 200, b"{}", 0.1)]))
        self.answers = [ToolOutcome(read="not done yet", spoken="One moment.")]
        self.deliveries: list[dict[str, Any]] = []
        self.row: dict[str, Any] = Row(
            key=Key(f"CALL#{FIRST}", "TOOL#id-1"),
            state=State.SUCCEEDED,
            tool="transfer_to_person",
            lane="live",
            effect="keyed",
            arguments="{}",
            digest="d",
            emitted_at=0,
            accepted_at=0,
            deadline=0,
            delivery=Delivery.NONE,
        ).item(0)
        steps = {"requested": 1, "holding": 2, "ringing": 3, "no_answer": 4, "returned": 5}
        self.transfer: dict[str, Any] = {
            "pk": f"XFER#{SID}",
            "sk": "META",
            "n": 1,
            "to": "reception",
            "summary": SUMMARY,
            "state": "returned",
            "outcome": "no_answer",
            **{f"{step}_at": at for step, at in steps.items()},
        }
        self.leg: dict[str, Any] = {
            "pk": f"SID#{SID}",
            "sk": "META",
            "status": "completed",
            "call_id": SECOND,
            "calls": {FIRST, SECOND},
        }
        self.slot: dict[str, Any] = {"pk": "SLOTS", "sk": "SLOT#0001", "v": 1, "exp": 9_999_999_999}
        self.more: list[dict[str, Any]] = [{"pk": "SLOTS", "sk": "SLOT#WAIT", "v": 1, "exp": 9_999_999_999}]
        self.phone: dict[str, Any] = {
            "legs": [
                {"sid": SID, "to": "+15555550100", "status": "completed"},
                {"sid": PERSON, "to": RECEPTION, "status": "no-answer"},
            ],
            "silence": 1.0,
            "timeline": [{"at": 0, "sid": SID, "what": "hears music", "detail": ""}],
            "streams": [{"by": by} for by in ("", "redirect", "", "far end")],
            "webhooks": [self._asked(path) for path in ("inbound", "hold?n=1", "music?turn=0", "back?n=1", "status")],
            "orders": [self._order("hold"), self._order("back")],
        }
        overrides = {
            "firstMessage": SORRY,
            "variableValues": {
                "transfer_outcome": "no_answer",
                "transfer_to": "reception",
                "transfer_summary": SUMMARY,
            },
        }
        self.orders: list[dict[str, Any]] = [
            {"assistantId": "a"},
            {"assistantId": "a", "assistantOverrides": overrides},
        ]
        self.sessions = {call: self._session(call) for call in (FIRST, SECOND)}
        self.behaviour = "no-answer"

    def _messages(self, call: str, reason: str) -> list[Exchange]:
        record = Conversation(STARTED, "+15555550100")
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("status-update", {"status": "ended", "endedReason": reason}),
            ("end-of-call-report", {"endedReason": reason}),
        ]
        made = [server_messages.message(kind, {"id": call}, STARTED, record, **more) for kind, more in kinds]
        return [Exchange(one, [Sent(STARTED, 200, b"{}", 0.1)]) for one in made]

    @staticmethod
    def _asked(target: str) -> dict[str, Any]:
        return {"sid": SID, "target": f"/voice/{target}", "status": 200, "seconds": 0.1, "body": "<Response/>"}

    @staticmethod
    def _order(path: str) -> dict[str, Any]:
        form = {"Url": f"http://backend.test/voice/{path}?n=1#rc=2"}
        return {"path": f"/2010-04-01/Accounts/AC0/Calls/{SID}.json", "form": form, "status": 200}

    @staticmethod
    def _session(call: str) -> dict[str, Any]:
        ended, reason = (MOVED, TAKEN) if call == FIRST else (ENDED, ENDING)
        times = {"call_sid": SID, "status": "ended", "ended_reason": reason, "exp": ended + RETENTION_SECONDS}
        return {"pk": f"CALL#{call}", "sk": "META", **times}

    def _played(self, call: str, **more: Any) -> Played:
        first = call == FIRST
        phones = {RECEPTION: {"name": "reception", "behaviour": self.behaviour}}
        document = {"call": {"kind": "bypass", "from": "+15555550134"}, "phones": phones, "steps": ["report"]}
        return Played(
            script=parse(document, "x"),
            call_id=call,
            call_sid=SID,
            twiml=STREAM,
            started=STARTED,
            ended=MOVED if first else ENDED,
            moments=[],
            exchanges=self.exchanges[call],
            tools={"transfer_to_person": self.answers} if first else {},
            deliveries=self.deliveries if first else [],
            refused=[],
            status_callback=204,
            **more,
        )

    def broken(self) -> list[str]:
        transfer = Transfer(self._played(FIRST), self.phone, self.orders)
        reports = [
            {"pk": f"CALL#{call}", "sk": "REPORT", "ended_reason": reason}
            for call, reason in ((FIRST, TAKEN), (SECOND, ENDING))
        ]
        items = [self.row, self.transfer, self.leg, self.slot, *self.sessions.values(), *reports, *self.more]
        made = promises(Evidence(self._played(SECOND, transfer=transfer), items))
        return [promise.promised for promise in made if not promise.ok]


def test_a_good_transfer_keeps_every_promise() -> None:
    assert Case().broken() == []


def test_a_call_that_was_not_transferred_is_held_to_other_promises() -> None:
    case = Case()
    made = promises(Evidence(case._played(SECOND), [case.leg, case.sessions[SECOND]]))

    assert "the caller is moved twice: to the hold, and back" not in [promise.promised for promise in made]


@pytest.mark.parametrize("behaviour", ["busy", "failed", "voicemail"])
def test_how_it_ends_depends_on_who_is_called(behaviour: str) -> None:
    case = Case()
    case.behaviour = behaviour

    assert case.broken() == [
        f"there is one transfer, it ends as {behaviour}, and the caller is returned",
        "the second one knows why, and begins with it",
    ]


def heard(case: Case, words: str) -> None:
    case.phone["timeline"].append({"at": 0, "sid": PERSON, "what": "hears", "detail": f"“{words}”"})


def hold_the_slot(case: Case) -> None:
    case.slot |= {"holder": SID, "taken_at": 1}


ONE = "there is one transfer, it ends as no_answer, and the caller is returned"
TOLD_WHY = "the second one knows why, and begins with it"
SAID = "the tool's result is said to nobody, and missed by nobody"
ONCE = "the person's phone rings once, and the summary is told to nobody"
PUBLIC = "no document for Twilio holds a secret, or what the caller wants"
ANSWERED = "whatever Twilio asks about the caller's leg is answered"
MUSIC = "between the two calls the caller hears music"
MOVES = "the caller is moved twice: to the hold, and back"
BREAKS: list[tuple[Callable[[Case], object], str]] = [
    (lambda case: case.transfer.update(n=2), ONE),
    (lambda case: case.transfer.update(state="no_answer"), ONE),
    (lambda case: case.transfer.update(outcome="busy"), ONE),
    (lambda case: case.transfer.update(ringing_at=9), ONE),
    (lambda case: case.transfer.pop("returned_at"), ONE),
    (lambda case: case.phone["orders"].append(Case._order("back")), MOVES),
    (lambda case: case.phone["orders"].reverse(), MOVES),
    (lambda case: case.phone["legs"].append(case.phone["legs"][1]), ONCE),
    (lambda case: case.phone["legs"][1].update(status="in-progress"), ONCE),
    (lambda case: heard(case, f"{SUMMARY} Press 1."), ONCE),
    (lambda case: case.phone["timeline"].clear(), MUSIC),
    (lambda case: case.phone["streams"][1].update(by="caller"), MUSIC),
    (lambda case: case.orders.insert(0, {}), "Vapi is asked for two calls, each once"),
    (lambda case: case.orders[-1]["assistantOverrides"].update(firstMessage="Hello."), TOLD_WHY),
    (lambda case: case.orders[-1]["assistantOverrides"]["variableValues"].pop("transfer_summary"), TOLD_WHY),
    (lambda case: case.deliveries.append({"call": FIRST}), SAID),
    (lambda case: case.row.update(delivery="dropped"), SAID),
    (lambda case: case.phone.update(silence=5.0), "the caller never hears nothing for 5 s"),
    (lambda case: case.phone["webhooks"][1].update(body=development.TWILIO_AUTH_TOKEN), PUBLIC),
    (lambda case: case.phone["webhooks"][2].update(body=SUMMARY), PUBLIC),
    (lambda case: case.phone["webhooks"][3].update(status=503), ANSWERED),
    (lambda case: case.phone["webhooks"].pop(2), ANSWERED),
    (hold_the_slot, "the caller's slot is free again"),
    (lambda case: case.answers.append(ToolOutcome(spoken="Wait.")), "transfer_to_person: every webhook is answered"),
    (lambda case: case.sessions[FIRST].update(status="in-progress"), "the session has ended"),
    (lambda case: case.sessions[SECOND].update(ended_reason="x"), "the session has ended"),
    (lambda case: case.leg["calls"].discard(FIRST), "the phone leg and the call know each other"),
    (lambda case: case.row.update(state="FAILED"), "each tool call has succeeded, none is left open"),
    (lambda case: case.row.update(delivery="pending"), SAID),
    (lambda case: case.leg.update(status="in-progress"), "Twilio's status callback closes the phone leg"),
    (lambda case: case.leg.update(twiml="/control"), "no credential and no control URL is stored"),
]


@pytest.mark.parametrize(("break_it", "promised"), BREAKS)
def test_a_promise_is_broken_by_what_it_promises(break_it: Callable[[Case], object], promised: str) -> None:
    case = Case()
    break_it(case)

    assert any(broken.startswith(promised) for broken in case.broken())
