"""Plays a call that is moved from telephone to telephone, as the local stack's Twilio carries it.

For Vapi these are two calls: the first one ends when Twilio closes its media stream, the second one begins when a caller
whom nobody took is connected again. The player only watches: who is moved where is the backend's doing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import httpx

from devkit.local_twilio import CALLS, FAR_END
from devkit.player import POLL_SECONDS, Abandoned, Played, Player, Transfer
from devkit.script import Back, Hangup, Script, Speech, Step
from devkit.server_messages import Conversation
from devkit.speech import Cue
from devkit.timeline import Moment
from devkit.wire import Backend, Doors, Network
from switchboard import routes

CONNECT_SECONDS = 20.0  # for the first connection: Twilio's own patience, and some more
MOVE_SECONDS = 30.0  # until the leg is moved: the tool has 10, and a worker that was killed another try
END_SECONDS = 20.0  # until Twilio has told of a leg's end
# One of Vapi's reasons. That it is the one for a stream that Twilio closes is supposed: nothing says so.
TAKEN_AWAY = "call.in-progress.twilio-completed-call"
# In the timeline of the exchange, but told otherwise here.
TOLD = ("calls", "is connected to the assistant", "is redirected", "loses the assistant")


class Telephone:
    """The doors of the local stack's Twilio."""

    def __init__(self, twilio_url: str) -> None:
        self._http = httpx.Client(base_url=twilio_url, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, script: Script) -> str:
        """Let the script's caller call; returns the CallSid."""
        people = {number: asdict(phone.person) for number, phone in script.phones.items()}
        order = {"from": script.call.number, "to": script.call.dialled, "people": people}
        return str(self._ask("POST", CALLS, order)["sid"])

    def told(self, sid: str) -> dict[str, Any]:
        """All that has become of a call: legs, streams, webhooks, orders by REST, a timeline."""
        return self._ask("GET", f"{CALLS}/{sid}")

    def end(self, sid: str, side: str) -> None:
        """The `caller` hangs up, or the far end closes the `stream`."""
        self._ask("POST", f"{CALLS}/{sid}", {"ends": side})

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return dict(answer.json())


class TransferPlayer(Player):
    """Plays one script whose caller is moved away from the assistant, once."""

    def __init__(
        self, script: Script, backend: Backend, doors: Doors, telephone: Telephone, network: Network | None = None
    ) -> None:
        super().__init__(script, backend, doors, network)
        self._telephone = telephone
        self._sid = ""
        self._seen = 0  # of the leg's media streams, openings and closings
        self._acts: list[Played] = []

    def play(self) -> Played:
        """Play to the end and wait for every answer."""
        played = super().play()._replace(call_sid=self._sid, status_callback=self._status_callback)
        if not self._acts:
            return played
        before = _of(self._acts[0], played)
        orders = [one["body"] for one in self._asked_of_vapi() if one["path"] == "/call"]
        after = _of(played._replace(twiml=self._twiml(), tools=self._tools), played)
        return after._replace(transfer=Transfer(before, self._telephone.told(self._sid), orders))

    def _through_twilio(self) -> dict[str, Any]:
        self._sid = self._telephone.call(self._script)
        return self._connected(CONNECT_SECONDS)

    def _connected(self, seconds: float) -> dict[str, Any]:
        """Wait until Twilio opens a media stream, and connect it with the call at Vapi that it leads to."""
        opened = self._stream(seconds, "the caller is not connected to the assistant")
        call = self._doors.connect(opened["url"]) if not opened["by"] else None
        if call is None:
            self._telephone.end(self._sid, "stream")
            self._miss("phone", "the media stream leads to no call at Vapi")
            raise Abandoned
        self._note("phone", f"media stream connected, call {call['id']}", at=opened["at"])
        return call

    def _stream(self, seconds: float, otherwise: str) -> dict[str, Any]:
        """The next opening or closing of the leg's media streams."""
        streams = self._wait(lambda told: told["streams"][self._seen :], seconds, otherwise)
        self._seen += 1
        return dict(streams[0])

    def _wait(self, look: Callable[[dict[str, Any]], Any], seconds: float, otherwise: str) -> Any:
        deadline = self._clock() + seconds
        while self._clock() < deadline:
            if found := look(self._telephone.told(self._sid)):
                return found
            self._sleep(POLL_SECONDS)
        self._miss("phone", f"{otherwise} within {seconds:g} s")
        # Nobody plays this caller any more, who would be on the line for ever.
        self._telephone.end(self._sid, "caller")
        raise Abandoned

    def _play_cues(self, cues: Sequence[Cue], began: float, seconds: float) -> None:
        """Let somebody speak as long as there is a stream to speak into."""
        for number, cue in enumerate(cues):
            self._sleep(max(0.0, began + cue.after - self._clock()))
            if closed := self._telephone.told(self._sid)["streams"][self._seen :]:
                self._note("phone", "nobody hears the rest: there is no stream any more", at=closed[0]["at"])
                return
            super()._play_cues(cues[number : number + 1], began, seconds)

    def _step(self, step: Step, cut_by: Speech | None) -> None:
        match step:
            case Hangup("transfer"):
                self._lose()
            case Back(within):
                self._return(within)
            case _:
                super()._step(step, cut_by)

    def _lose(self) -> None:
        """Twilio takes the caller away: Vapi knows only that the stream was closed."""
        closed = self._stream(MOVE_SECONDS, "the caller is not moved")
        if closed["by"] != "redirect":
            self._miss("phone", f"the media stream was closed by the {closed['by']}, not by a redirect")
        self._note("phone", "media stream closed: the caller is moved", at=closed["at"])
        self._end_call(TAKEN_AWAY)

    def _return(self, within: float) -> None:
        """The first call is over. Another one begins, which knows nothing of what was said in it."""
        self._acts.append(self._act())
        self._tools, self._turn, self._ended = {}, 0, 0.0
        call = self._connected(within)
        self._conversation = Conversation(self._clock(), self._script.call.dialled)
        self._take_up(call)

    def _act(self) -> Played:
        """The call at Vapi as it was played so far, without what is known only later."""
        return Played(
            script=self._script,
            call_id=self._call["id"],
            call_sid=self._sid,
            twiml=self._twiml(),
            started=self._started,
            ended=self._ended or self._clock(),
            moments=[],
            exchanges=[],
            tools=self._tools,
            deliveries=[],
            refused=[],
            status_callback=0,
        )

    def _twiml(self) -> str:
        """The latest document that connected the caller."""
        webhooks = self._telephone.told(self._sid)["webhooks"]
        return str(next((one["body"] for one in reversed(webhooks) if "<Stream" in one["body"]), ""))

    def _hang_up(self, by: str) -> None:
        self._note("phone", f"{self._script.call.name if by == 'caller' else 'the assistant'} hangs up")
        if by == "assistant":
            # In this order: Vapi has ended the call by the time that Twilio can tell of the leg's end.
            self._end_call("assistant-ended-call")
        self._telephone.end(self._sid, "caller" if by == "caller" else "stream")
        closed = self._stream(END_SECONDS, "the media stream stays open")
        if closed["by"] != ("caller" if by == "caller" else FAR_END):
            self._miss("phone", f"the media stream was closed by the {closed['by']}")
        if by == "caller":
            self._end_call("customer-ended-call")
        self._status_callback = self._wait(self._told_of_its_end, END_SECONDS, "Twilio does not tell of the leg's end")

    def _told_of_its_end(self, told: Mapping[str, Any]) -> int:
        of_leg = [one for one in told["webhooks"] if (one["sid"], one["target"]) == (self._sid, routes.STATUS)]
        return int(of_leg[-1]["status"]) if of_leg else 0

    def _call_ids(self) -> set[str]:
        return super()._call_ids() | {act.call_id for act in self._acts}

    def _collect(self) -> None:
        super()._collect()
        if self._sid:
            self._moments += moments(self._telephone.told(self._sid), self._sid, self._script)


def _of(act: Played, whole: Played) -> Played:
    """One call at Vapi, with what of the whole belongs to it."""
    exchanges = [one for one in whole.exchanges if one.message["message"]["call"]["id"] == act.call_id]
    return act._replace(exchanges=exchanges, deliveries=[one for one in whole.deliveries if one["call"] == act.call_id])


def moments(told: Mapping[str, Any], sid: str, script: Script) -> Iterator[Moment]:
    """What happened on the telephones: what Twilio asked the backend and was told by it, and what people heard."""
    names = {leg["sid"]: script.phones[leg["to"]].name for leg in told["legs"] if leg["to"] in script.phones}
    names[sid] = script.call.name
    for entry in told["timeline"]:
        if entry["what"] not in TOLD:
            yield Moment(entry["at"], names.get(entry["sid"], "phone"), f"{entry['what']} {entry['detail']}".rstrip())
    for one in told["webhooks"]:
        path = one["target"].partition("?")[0]
        what = f"POST {path} → {one['status'] or 'no answer'} ({one['seconds'] * 1000:.0f} ms)"
        yield Moment(one["at"], "phone", what, ok=200 <= one["status"] < 300)
    for order in told["orders"]:
        what = f"is told by REST to {_purpose(order, names)} → {order['status']}"
        yield Moment(order["at"], "twilio", what, ok=200 <= order["status"] < 300)


def _purpose(order: Mapping[str, Any], names: Mapping[str, str]) -> str:
    form = order["form"]
    whom = next((name for sid, name in names.items() if sid in order["path"]), "somebody")
    if "To" in form:
        return f"call {form['To']}"
    if "Url" in form:
        return f"move {whom} to {httpx.URL(form['Url']).path}"
    return f"hang up on {whom}" if form else f"say what {whom} does"
