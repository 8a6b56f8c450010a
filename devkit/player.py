"""Plays a call from a script against a running backend, as Vapi and Twilio would run it.

A `Player` goes through the script's steps. Speech takes as long as its words; messages go out through a `Wire`; what
the backend has spoken into the call is read back from the fake Vapi. Every expectation that is not met is a moment of
the timeline that is not `ok`.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from devkit import development, server_messages
from devkit.script import Forged, Hangup, Hear, Pause, Report, Scene, Script, Speech, Step, Tools, ToolUse, fill
from devkit.server_messages import Conversation, ToolOutcome
from devkit.speech import CUT_OFF, Cue, cut_off, duration, interrupted, speaking
from devkit.timeline import Moment, render
from devkit.twilio_fake import ApplicationError, PhoneLeg
from devkit.wire import (
    ASSISTANT_REQUEST_SECONDS,
    READ_ANSWERS,
    SERVER_SECONDS,
    Backend,
    Doors,
    Exchange,
    Network,
    Replay,
    Wire,
)

POLL_SECONDS = 0.05
FORGED_REASON = "forged-by-a-stranger"


class Played(NamedTuple):
    """A call that was played, and all that is known about it. Times are epoch seconds."""

    script: Script
    call_id: str
    call_sid: str
    twiml: str
    started: float
    ended: float
    moments: list[Moment]
    exchanges: list[Exchange]
    tools: dict[str, list[ToolOutcome]]
    deliveries: list[dict[str, Any]]
    refused: list[int]
    status_callback: int
    transfer: "Transfer | None" = None

    @property
    def unmet(self) -> list[str]:
        """What should have gone otherwise."""
        return [moment.what for moment in self.moments if not moment.ok]

    def render(self) -> str:
        """The timeline."""
        return render(self.moments, self.started)


class Transfer(NamedTuple):
    """What else is known of a call whose caller was moved away from the assistant and came back to another one.

    `before` is the first of the two calls at Vapi. `phone` is what the local Twilio tells of the caller's leg and of those
    that were placed for it; `orders` are the bodies of `POST /call`.
    """

    before: Played
    phone: dict[str, Any]
    orders: list[dict[str, Any]]


class Abandoned(Exception):
    """The call cannot go on; what stopped it is in the timeline already."""


class Player:
    """Plays one script, once."""

    def __init__(
        self,
        script: Script,
        backend: Backend,
        doors: Doors,
        network: Network | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._script, self._backend, self._doors = script, backend, doors
        self._network = network or Network()
        self._wire = Wire(backend, self._network)
        self._clock, self._sleep = clock, sleep
        self._started = clock()
        self._moments: list[Moment] = []
        self._pending: list[Future[Exchange]] = []
        self._exchanges: list[Exchange] = []
        self._tools: dict[str, list[ToolOutcome]] = {}
        self._refused: list[int] = []
        self._conversation = Conversation(self._started, script.call.dialled)
        self._call: dict[str, Any] = {}
        self._leg: PhoneLeg | None = None
        self._turn = 0
        self._interruption: Speech | None = None
        self._greeting = ""
        self._results: dict[str, str] = {}
        self._read = self._before = 0
        self._unheard: list[dict[str, Any]] = []
        self._ended = 0.0
        self._ended_reason = ""
        self._status_callback = 0

    def play(self) -> Played:
        """Play to the end and wait for every answer."""
        self._read = self._before = len(self._doors.asked(0))
        try:
            with suppress(Abandoned):
                self._pick_up()
                self._go_through()
        finally:
            self._wire.close()
        self._collect()
        return Played(
            script=self._script,
            call_id=self._call.get("id", ""),
            call_sid=self._leg.sid if self._leg else "",
            twiml=self._leg.twiml if self._leg else "",
            started=self._started,
            ended=self._ended or self._clock(),
            moments=sorted(self._moments, key=lambda moment: moment.at),
            exchanges=self._exchanges,
            tools=self._tools,
            deliveries=self._deliveries(),
            refused=self._refused,
            status_callback=self._status_callback,
        )

    def _pick_up(self) -> None:
        caller = self._script.call
        self._note("phone", f"{caller.name} {caller.number} calls {caller.dialled}")
        self._take_up(self._through_twilio() if caller.kind == "bypass" else self._through_vapi())

    def _take_up(self, call: dict[str, Any]) -> None:
        """An assistant has the caller on the line."""
        self._call = call
        assistant = self._call.get("assistant") or {}
        overrides = self._call.get("assistantOverrides") or {}
        self._greeting = overrides.get("firstMessage") or assistant.get("firstMessage") or "Hello."
        self._send("status-update", status="in-progress")

    def _through_twilio(self) -> dict[str, Any]:
        """Twilio asks the backend, which asks Vapi; the media stream of the answer leads to the call."""
        caller = self._script.call
        self._leg = leg = PhoneLeg(
            self._backend.post_form,
            public_url=self._backend.public_url,
            caller=caller.number,
            dialled=caller.dialled,
            clock=self._clock,
        )
        self._doors.leg(leg)
        asked = self._clock()
        try:
            answer = leg.ring()
        except (ApplicationError, httpx.HTTPError) as error:
            self._miss("phone", f"POST /voice/inbound: the caller hears an application error ({error})")
            raise Abandoned from error
        words = "".join(f" “{heard}”" for heard in leg.line.heard)
        verb = leg.line.kept_by.name if leg.line.kept_by else "end"
        took = _ms(self._clock() - asked)
        self._note("phone", f"POST /voice/inbound → {answer.status_code}, TwiML:{words} {verb} ({took})", at=asked)
        self._doors.leg(leg)
        if self._network.duplicate:
            self._repeat(leg, "/voice/inbound", answer)
        stream = leg.line.stream
        call = self._doors.connect(stream) if stream else None
        if call is None:
            self._miss("phone", "the caller is not connected to a call at Vapi")
            raise Abandoned
        self._note("phone", f"media stream connected, call {call['id']}")
        return call

    def _repeat(self, leg: PhoneLeg, path: str, first: httpx.Response) -> None:
        """Twilio sends a webhook again whose answer it lost, and must get the same one."""
        again = leg.repeat()
        same = (again.status_code, again.text) == (first.status_code, first.text)
        note = self._note if same else self._miss
        note("phone", f"POST {path} again → {again.status_code}, {'the same answer' if same else 'another answer'}")

    def _through_vapi(self) -> dict[str, Any]:
        """The number is imported: Vapi has the caller on the line and asks the backend which assistant takes the call."""
        caller = self._script.call
        sid = "CA" + secrets.token_hex(16)
        call = self._doors.begin(
            {
                "status": "ringing",
                "customer": {"number": caller.number, "name": caller.name},
                "phoneNumberId": development.PHONE_NUMBER_ID,
                "phoneCallProviderId": sid,
                "transport": {"provider": "twilio", "accountSid": development.TWILIO_ACCOUNT_SID, "callSid": sid},
            }
        )
        self._call = call
        exchange = self._ask("assistant-request", seconds=ASSISTANT_REQUEST_SECONDS)
        outcome = server_messages.read_assistant_answer(exchange.deliveries[0].status, exchange.deliveries[0].body)
        if outcome.fields is None:
            why = outcome.fault or outcome.refusal or f"transferred to {outcome.destination}"
            self._miss("assistant", f"takes no call: {why}")
            raise Abandoned
        self._note("assistant", f"takes the call: {_assistant_name(outcome.fields)}")
        return self._doors.change(call["id"], status="in-progress", startedAt=_iso(self._clock()), **outcome.fields)

    def _go_through(self) -> None:
        steps = self._script.steps
        for number, step in enumerate(steps):
            following = steps[number + 1] if number + 1 < len(steps) else None
            if step is self._interruption:
                continue  # was heard with the step before, which it cut off
            self._step(step, following if isinstance(following, Speech) and following.interrupts else None)

    def _step(self, step: Step, cut_by: Speech | None) -> None:
        match step:
            case Speech():
                self._speak(step.role, self._fill(step.words), cut_by)
            case Tools():
                self._run_tools(step, cut_by)
            case Hear():
                self._hear(step, cut_by)
            case Forged(what):
                self._forge(what)
            case Hangup(by):
                self._hang_up(by)
            case Report(summary):
                self._report(summary)
            case Pause(seconds):
                self._sleep(seconds)

    def _speak(self, role: str, words: str, cut_by: Speech | None = None) -> None:
        """Let somebody speak, in real time; an interrupting caller speaks within the same stretch."""
        pace = self._script.call.pace
        seconds = duration(words, pace)
        who = "assistant" if role == "assistant" else self._script.call.name
        began = self._clock()
        if cut_by is None:
            self._note(who, f"“{words}”", at=began)
            self._play_cues(speaking(role, words, self._turn, seconds), began, seconds)
            self._turn += 1
            return
        self._interruption = cut_by
        answer = self._fill(cut_by.words)
        self._note(who, f"“{cut_off(words)} —” (interrupted)", at=began)
        self._note(self._script.call.name, f"“{answer}”", at=began + seconds * CUT_OFF)
        cues = interrupted(words, self._turn, seconds, answer, duration(answer, pace))
        self._play_cues(cues, began, seconds)
        self._turn += 2

    def _play_cues(self, cues: Sequence[Cue], began: float, seconds: float) -> None:
        for cue in cues:
            self._sleep(max(0.0, began + cue.after - self._clock()))
            if cue.kind == "transcript":
                self._conversation.said(cue.fields["role"], cue.fields["transcript"], began, seconds)
            fields = self._history() if cue.kind == "conversation-update" else cue.fields
            self._send(cue.kind, **fields)

    def _history(self) -> dict[str, Any]:
        artifact = self._conversation.artifact()
        return {key: artifact[key] for key in ("messages", "messagesOpenAIFormatted")}

    def _run_tools(self, step: Tools, cut_by: Speech | None) -> None:
        calls = [
            server_messages.tool_call("call_" + secrets.token_hex(12), use.name, self._fill(dict(use.arguments)))
            for use in step.uses
        ]
        for entry in calls:
            self._note("tool", f"{entry['function']['name']}({_arguments(entry['function']['arguments'])})")
        body = server_messages.tool_calls(self._call, self._clock(), self._conversation, calls)
        self._conversation.called(calls, self._clock())
        exchange = self._await(self._wire.post(body, twice=step.duplicate))
        words = [self._outcome(use, entry, exchange) for use, entry in zip(step.uses, calls, strict=True)]
        if said := " ".join(filter(None, words)):
            self._speak("assistant", said, cut_by)

    def _outcome(self, use: ToolUse, entry: Mapping[str, Any], exchange: Exchange) -> str:
        """Note what a tool answered and return the assistant's words about it."""
        tool = server_messages.definition(self._call, use.name)
        outcomes = [
            server_messages.read_tool_answer(sent.status, sent.body, entry, tool) for sent in exchange.deliveries
        ]
        self._tools.setdefault(use.name, []).extend(outcomes)
        first = outcomes[0]
        self._conversation.returned(entry["id"], use.name, first.read, self._clock())
        if first.fault:
            self._miss("tool", f"{use.name}: {first.fault}")
            return ""
        self._note("tool", f"{use.name} → {'error: ' if first.failed else ''}{first.read}")
        if any(other != first for other in outcomes):
            self._miss(
                "tool", f"{use.name}: the duplicate was answered otherwise: {outcomes[1].read or outcomes[1].fault}"
            )
        self._results.pop(use.name, None)
        self._results[use.name] = first.read
        self._expect(use, first)
        return first.spoken or self._fill(use.says) or first.read

    def _expect(self, use: ToolUse, outcome: ToolOutcome) -> None:
        seen = {
            "result": "" if outcome.failed else outcome.read,
            "error": outcome.read if outcome.failed else "",
            "spoken": outcome.spoken,
        }
        for part, words in use.expect.items():
            wanted = self._fill(words)
            if wanted.lower() not in seen[part].lower():
                self._miss("tool", f"{use.name}: expected “{wanted}” in its {part}, which is “{seen[part]}”")

    def _hear(self, step: Hear, cut_by: Speech | None) -> None:
        wanted = self._fill(step.contains)
        deadline = self._clock() + step.within
        while self._clock() < deadline:
            if command := self._next_heard(wanted):
                self._note("assistant", f"is made to speak by {command['type']}")
                self._speak("assistant", self._fill(step.says) or words_of(command), cut_by)
                return
            self._sleep(POLL_SECONDS)
        self._miss("delivery", f"“{wanted}” was not spoken into the call within {step.within:g} s")

    def _next_heard(self, wanted: str) -> dict[str, Any] | None:
        """Take the oldest command that made the assistant say these words and that no step has heard yet."""
        for request in self._doors.asked(self._read):
            self._read = request["number"]
            command = request["body"]
            if request["call"] == self._call["id"] and request["status"] == 200 and command and speaks(command):
                self._unheard.append(command)
        for command in self._unheard:
            if wanted.lower() in words_of(command).lower():
                self._unheard.remove(command)
                return command
        return None

    def _forge(self, what: str) -> None:
        """A stranger, without the secret, tries to end this very call, or to have a new one answered."""
        if what == "webhook":
            message = self._message("status-update", status="ended", endedReason=FORGED_REASON)
            body = server_messages.encode(message)
            status = self._backend.send(
                body, self._backend.sign(body, secret=secrets.token_hex(16)), SERVER_SECONDS
            ).status
        else:
            stranger = PhoneLeg(
                self._backend.post_form,
                public_url=self._backend.public_url,
                caller=self._script.call.number,
                dialled=self._script.call.dialled,
                token=secrets.token_hex(16),
            )
            status = stranger.ask().status_code
        self._refused.append(status)
        note = self._note if status in (401, 403) else self._miss
        note("stranger", f"sends a forged {what} → {status}")

    def _hang_up(self, by: str) -> None:
        self._note("phone", f"{self._script.call.name if by == 'caller' else 'the assistant'} hangs up")
        self._end_call("customer-ended-call" if by == "caller" else "assistant-ended-call")
        if self._leg:
            self._leave(self._leg)

    def _end_call(self, reason: str) -> None:
        """The call is over at Vapi, which says so."""
        self._ended, self._ended_reason = self._clock(), reason
        self._call = self._doors.change(self._call["id"], status="ended", endedReason=reason, endedAt=_iso(self._ended))
        self._send("status-update", status="ended", endedReason=reason)

    def _leave(self, leg: PhoneLeg) -> None:
        """The phone leg ends too, and Twilio says so."""
        told = self._clock()
        try:
            answer = leg.hang_up()
        except httpx.HTTPError as error:
            self._miss("phone", f"POST /voice/status, completed: {error}")
            return
        self._status_callback = answer.status_code
        what = f"POST /voice/status, completed → {answer.status_code} ({_ms(self._clock() - told)})"
        self._moments.append(Moment(told, "phone", what, ok=answer.is_success))
        self._doors.leg(leg)
        if self._network.duplicate:
            self._repeat(leg, "/voice/status", answer)

    def _report(self, summary: str) -> None:
        ended = self._ended or self._clock()
        minutes = (ended - self._conversation.started) / 60
        self._send(
            "end-of-call-report",
            endedReason=self._ended_reason or "customer-ended-call",
            startedAt=_iso(self._conversation.started),
            endedAt=_iso(ended),
            cost=0.05,
            costs=[{"type": "vapi", "subType": "normal", "minutes": round(minutes, 2), "cost": 0.05}],
            analysis={"summary": self._fill(summary), "successEvaluation": "true"} if summary else {},
        )

    def _message(self, kind: str, **fields: Any) -> dict[str, Any]:
        return server_messages.message(kind, self._call, self._clock(), self._conversation, **fields)

    def _send(self, kind: str, **fields: Any) -> None:
        message = self._message(kind, **fields)
        if server_messages.is_wanted(message, server_messages.wanted(self._call)):
            self._pending.append(self._wire.post(message))

    def _ask(self, kind: str, *, seconds: float) -> Exchange:
        return self._await(self._wire.post(self._message(kind), seconds=seconds))

    def _await(self, sent: Future[Exchange]) -> Exchange:
        self._pending.append(sent)
        return sent.result()

    def _fill(self, value: Any) -> Any:
        # The call's own "now", so that a time said twice is the same time, also around midnight.
        now = datetime.fromtimestamp(self._started, self._script.call.zone)
        return fill(value, Scene(now, self._greeting, self._results))

    def _note(self, who: str, what: str, *, at: float | None = None) -> None:
        self._moments.append(Moment(self._clock() if at is None else at, who, what))

    def _miss(self, who: str, what: str) -> None:
        self._moments.append(Moment(self._clock(), who, what, ok=False))

    def _collect(self) -> None:
        """Add what became of the messages, and what the backend did on its own, to the timeline."""
        self._exchanges = [future.result() for future in self._pending]
        self._moments += [moment for exchange in self._exchanges for moment in exchange_moments(exchange)]
        self._moments += [
            Moment(request["at"], "vapi", f"is asked for the call: POST /call → {request['status']}")
            for request in self._asked_of_vapi()
            if request["path"] == "/call"
        ]
        self._moments += [delivery_moment(request) for request in self._deliveries()]
        self._moments += [moment for replay in self._wire.replays for moment in replay_moments(replay)]

    def _asked_of_vapi(self) -> list[dict[str, Any]]:
        """What the backend asked the fake Vapi about this call."""
        asked = self._doors.asked(self._before)
        return [request for request in asked if request["call"] in self._call_ids()]

    def _call_ids(self) -> set[str]:
        """What this call is at Vapi."""
        return {self._call["id"]} if self._call else set()

    def _deliveries(self) -> list[dict[str, Any]]:
        return [request for request in self._asked_of_vapi() if request["path"].endswith("/control")]


def exchange_moments(exchange: Exchange) -> Iterator[Moment]:
    """The moments of a message: one for all its deliveries if they only had to be taken in, and were."""
    inner = exchange.message["message"]
    name, count = _title(inner), len(exchange.deliveries)
    if exchange.lost:
        name += f" (lost and sent again, {exchange.lost} x)"
    if inner["type"] not in READ_ANSWERS and all(sent.status == 200 for sent in exchange.deliveries):
        yield Moment(exchange.deliveries[0].at, "message", name + (f" x{count}" if count > 1 else ""), routine=True)
        return
    for number, sent in enumerate(exchange.deliveries):
        again = " again" if number else ""
        what = f"{name}{again} → {sent.status or 'no answer'} ({_ms(sent.seconds)})"
        yield Moment(sent.at, "message", what, ok=200 <= sent.status < 300)


def replay_moments(replay: Replay) -> Iterator[Moment]:
    """What came of a message that was sent again after the call: a moment only where that was not the same answer."""
    if not replay.same:
        what = f"{_title(replay.message['message'])} replayed → {replay.again.status}, not as the first time"
        yield Moment(replay.again.at, "replay", what, ok=False)


def _title(inner: Mapping[str, Any]) -> str:
    """A message in few words: its type, and whose or which."""
    parts = [inner["type"], inner.get("role", ""), inner.get("status", "")]
    if inner["type"] == "tool-calls":
        parts += [entry["function"]["name"] for entry in inner["toolCallList"]]
    return " ".join(filter(None, parts))


def delivery_moment(request: Mapping[str, Any]) -> Moment:
    """What the backend sent to the call's control URL."""
    command = request["body"] or {}
    silently = "" if speaks(command) or not words_of(command) else ", silently"
    what = f"{command.get('type')}{silently} → {request['status']}: {words_of(command)}".rstrip(": ")
    return Moment(request["at"], "delivery", what, ok=request["status"] == 200)


def speaks(command: Mapping[str, Any]) -> bool:
    """Whether a live call control command makes the assistant speak."""
    return command.get("type") == "say" or (
        command.get("type") == "add-message" and command.get("triggerResponseEnabled", True)
    )


def words_of(command: Mapping[str, Any]) -> str:
    """The text that a live call control command carries."""
    message = command.get("message")
    return str(command.get("content") or (message.get("content") if isinstance(message, Mapping) else "") or "")


def _assistant_name(fields: Mapping[str, Any]) -> str:
    assistant = fields.get("assistant") or {}
    return str(fields.get("assistantId") or assistant.get("name") or "a transient assistant")


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
