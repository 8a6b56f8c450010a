"""What each TwiML verb does to a leg, as Twilio documents it. `devkit.exchange.Exchange` brings the documents.

Every verb is a program that returns the next document, or None where the present one goes on. A verb that keeps the
leg can be left at any moment: `Gone` ends the leg, `Taken` takes it elsewhere, and the verb cleans up behind itself.
"""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from devkit.exchange_legs import (
    Gone,
    Left,
    Leg,
    Page,
    Person,
    Place,
    Program,
    Queue,
    Room,
    Taken,
    Timetable,
    wait,
)
from devkit.twilio_fake import ApplicationError, Verb
from devkit.twiml_lint import VERBS, Kind

SIP_CODES = {"completed": "200", "busy": "486", "no-answer": "487", "canceled": "487", "failed": "503"}
SHORTEST = 0.2  # seconds; a document to wait by that takes less takes none, whatever the request itself took
FOR_EVER = 10_000  # times; loop="0" means until the leg ends
MACHINE_SECONDS = 30.0  # how long a voicemail records before it hangs up

type Form = dict[str, str]


class Verbs(Timetable, ABC):
    """The verbs. What they need of Twilio besides time is abstract here."""

    word_seconds = 0.35
    play_seconds: Callable[[str], float] = staticmethod(lambda url: 8.0)
    on_stream: Callable[[Leg, str, Mapping[str, str]], float | None]
    on_closed: Callable[[Leg, str, str], object]
    queue_limit: int

    @abstractmethod
    def fetch(self, leg: Leg, page: Page, kind: Kind) -> Program[list[Verb]]:
        """Ask for a document, or take the one that was pushed; `ApplicationError` where Twilio gives up."""

    @abstractmethod
    def report(self, leg: Leg, page: Page) -> None:
        """Request a page of which the answer is not followed, because the leg goes elsewhere."""

    @abstractmethod
    def note(self, leg: Leg, what: str, detail: str = "") -> None:
        """Add to the timeline."""

    @abstractmethod
    def progress(self, leg: Leg, event: str) -> None:
        """Tell the leg's status callback, if it wants to know of this event."""

    @abstractmethod
    def make_sid(self, prefix: str) -> str:
        """The next SID."""

    @abstractmethod
    def new_leg(
        self, caller: str, dialled: str, direction: Literal["outbound-api", "outbound-dial"], **more: Any
    ) -> Leg:
        """Make a leg to somebody who is called."""

    def begin(self) -> None:
        """Start with no queue and no room."""
        self.queues: dict[str, Queue] = {}
        self.rooms: dict[str, Room] = {}

    def launch(self, leg: Leg, program: Program[Any]) -> None:
        """Let a leg live: follow the program, and whatever document it is taken to, to its end."""
        leg.digits = deque(leg.person.digits if leg.person.behaviour != "voicemail" else ())
        leg.task = self.spawn(self._live(leg, program))

    def _live(self, leg: Leg, program: Program[Any]) -> Program[None]:
        status = "completed"
        while True:
            try:
                yield from program
                self.answer(leg)  # an empty document is a call that was taken, and is over
            except Taken as taken:
                leg.taken = True
                if leg.parent:
                    self.tell(leg.parent, leg, "completed")
                program = self.follow(leg, taken.page)
                continue
            except Gone as gone:
                status = gone.status
            return self._end(leg, status)

    def _end(self, leg: Leg, status: str) -> None:
        if leg.answered_at is None and status == "completed":
            status = "no-answer" if leg.direction == "inbound" else "canceled"
        leg.status, leg.ended_at = status, self.clock.now
        self.note(leg, "ends", "" if status == "completed" else status)
        self.progress(leg, "completed")
        if leg.parent:
            self.tell(leg.parent, leg, status)

    def follow(self, leg: Leg, page: Page) -> Program[bool]:
        """Follow a document, and all that it leads to, to the end; False if that is an application error."""
        here = page
        while True:
            try:
                verbs = yield from self.fetch(leg, here, "call")
                following = yield from self._walk(leg, verbs, here.url)
            except ApplicationError as error:
                if not leg.fallback_url or here.url == leg.fallback_url:
                    self.answer(leg)
                    self.note(leg, "hears an application error", str(error.code))
                    with self.hearing(leg):
                        yield 3.0
                    return False
                following = Page(leg.fallback_url, (("ErrorCode", str(error.code)), ("ErrorUrl", here.url)))
            if following is None:
                return True
            here = following

    def _walk(self, leg: Leg, verbs: Sequence[Verb], base: str) -> Program[Page | None]:
        for verb in verbs:
            page = yield from self._verb(leg, verb, base)
            if page is not None:
                return page
        return None

    def _verb(self, leg: Leg, verb: Verb, base: str) -> Program[Page | None]:
        if verb.name == "Reject" and leg.answered_at is None:
            raise Gone("busy" if verb.attributes.get("reason") == "busy" else "failed")
        if verb.name not in ("Redirect", "Leave") and verb.attributes.get("answerOnBridge") != "true":
            self.answer(leg)
        match verb.name:
            case "Say":
                yield from self._say(leg, verb)
            case "Play":
                yield from self._play(leg, verb)
            case "Pause":
                yield _seconds(verb, "length", 1)
            case "Redirect":
                return self._page(verb.text, base)
            case "Gather":
                return (yield from self._gather(leg, verb, base))
            case "Record":
                return (yield from self._record(leg, verb, base))
            case "Connect":
                return (yield from self._connect(leg, verb, base))
            case "Enqueue":
                return (yield from self._enqueue(leg, verb, base))
            case "Dial":
                return (yield from self._dial(leg, verb, base))
            case "Leave":
                raise Left
            case _:
                raise Gone
        return None

    def answer(self, leg: Leg) -> None:
        """The leg is picked up, if it was not before."""
        if leg.answered_at is not None:
            return
        leg.answered_at, leg.status = self.clock.now, "in-progress"
        for sound in leg.sounds:
            sound.ended = self.clock.now
        self.progress(leg, "answered")

    def ring(self, leg: Leg, timeout: float) -> Program[None]:
        """Ring at a person's until they answer; `Gone` if they do not."""
        person = leg.person
        leg.status = "initiated"
        self.progress(leg, "initiated")
        leg.status = "ringing"
        self.note(leg, "rings")
        self.progress(leg, "ringing")
        if person.behaviour in ("busy", "failed"):
            yield 1.0
            raise Gone(person.behaviour)
        if person.behaviour == "no-answer" or person.answers_after > timeout:
            yield timeout
            raise Gone("no-answer")
        yield person.answers_after
        self.answer(leg)
        self.note(leg, "is answered", "by a voicemail" if person.behaviour == "voicemail" else "")
        patience = MACHINE_SECONDS if person.behaviour == "voicemail" else person.hangs_up_after
        if patience is not None:
            self.after(patience, lambda: self.hang_up(leg))

    def hang_up(self, leg: Leg, status: str = "completed", what: str = "hangs up") -> None:
        """Whoever is on the leg hangs up, or is hung up; nothing if it is over already."""

        def end() -> None:
            if not leg.over:
                self.note(leg, what)
                leg.status = status  # a request that is on its way says so already
                self._go_on(leg.task, Gone(status))

        self.at(self.clock.now, end)

    def _page(self, url: str, base: str, fields: Mapping[str, str] | None = None) -> Page:
        if not base and not urlsplit(url).scheme:
            raise ApplicationError(15004, f"a URL in TwiML that was pushed must be absolute, not {url!r}")
        return Page(urljoin(base, url), tuple((fields or {}).items()))

    def _say(self, leg: Leg, verb: Verb) -> Program[None]:
        words = " ".join(filter(None, [verb.text, *(noun.text for noun in verb.nouns)]))
        self.note(leg, "hears", f"“{words}”")
        with self.hearing(leg):
            yield self.word_seconds * len(words.split()) * _times(verb)

    def _play(self, leg: Leg, verb: Verb) -> Program[None]:
        self.note(leg, "hears music")
        with self.hearing(leg):
            yield self.play_seconds(verb.text) * _times(verb)

    def _gather(self, leg: Leg, verb: Verb, base: str) -> Program[Page | None]:
        told = yield from self.listen(leg, leg.keypad, self._prompt(leg, verb, base))
        digits = (told or "")[: int(verb.attributes.get("numDigits", "99"))]
        if digits:
            self.note(leg, "presses", digits)
        elif verb.attributes.get("actionOnEmptyResult") != "true":
            return None
        return self._page(verb.attributes.get("action", base), base, {"Digits": digits, "FinishedOnKey": ""})

    def _prompt(self, leg: Leg, verb: Verb, base: str) -> Program[None]:
        yield from self._walk(leg, verb.nouns, base)
        timeout = _seconds(verb, "timeout", 5)
        if leg.digits and (digits := leg.digits.popleft()):
            self.after(min(1.0, timeout / 2), lambda: self.tell(leg, leg.keypad, digits))
        yield timeout

    def _record(self, leg: Leg, verb: Verb, base: str) -> Program[Page | None]:
        spoken = min(leg.person.speaks, _seconds(verb, "maxLength", 3600))
        silence = _seconds(verb, "timeout", 5)
        if not spoken:
            yield silence
            return None
        began, sid = self.clock.now, self.make_sid("RE")
        self.note(leg, "leaves a message")

        def recorded(digits: str) -> Page:
            fields = {
                "RecordingSid": sid,
                "RecordingUrl": f"https://api.twilio.com/2010-04-01/Accounts/{leg.account}/Recordings/{sid}",
                "RecordingDuration": str(round(min(spoken, self.clock.now - began))),
                "Digits": digits,
            }
            return self._page(verb.attributes.get("action", base), base, fields)

        try:
            with self.hearing(leg):
                yield spoken
            if spoken == leg.person.speaks:
                yield silence
        except Gone:
            self.report(leg, recorded("hangup"))
            raise
        return recorded("")

    def _connect(self, leg: Leg, verb: Verb, base: str) -> Program[Page | None]:
        stream = next((noun for noun in verb.nouns if noun.name == "Stream"), None)
        if stream is None:
            raise ApplicationError(12200, "<Connect> to anything but a <Stream> is not played")
        url = stream.attributes.get("url", "")
        given = {noun.attributes.get("name", ""): noun.attributes.get("value", "") for noun in stream.nouns}
        self.note(leg, "is connected to the assistant", url)
        try:
            with self.hearing(leg):
                yield from self.listen(leg, leg.stream, wait(self.on_stream(leg, url, given)))
        except (Gone, Taken) as left:
            self.on_closed(leg, url, "caller" if isinstance(left, Gone) else "redirect")
            raise
        self.note(leg, "loses the assistant")
        self.on_closed(leg, url, "far end")
        action = verb.attributes.get("action")
        return self._page(action, base) if action else None

    def queue(self, name: str) -> Queue:
        """A queue by name; made when it is first used."""
        return self.queues.setdefault(name, Queue(self.make_sid("QU"), self.queue_limit))

    def _enqueue(self, leg: Leg, verb: Verb, base: str) -> Program[Page | None]:
        queue, place = self.queue(verb.text), Place(leg, self.clock.now)
        action = verb.attributes.get("action")

        def result(value: str) -> Page:
            fields = {"QueueResult": value}
            if value != "queue-full":
                fields |= {"QueueSid": queue.sid, "QueueTime": str(round(self.clock.now - place.since))}
            return self._page(action or "", base, fields)

        try:
            outcome = yield from self._stand_in_line(leg, verb, base, queue, place)
        except (Gone, Taken) as left:
            bridged = place.talks_to is not None
            word = "redirected" + "-from-bridged" * bridged if isinstance(left, Taken) else "hangup"
            if action:
                self.report(leg, result("bridged" if bridged and word == "hangup" else word))
            raise
        return result(outcome) if action else None

    def _stand_in_line(self, leg: Leg, verb: Verb, base: str, queue: Queue, place: Place) -> Program[str]:
        if len(queue.waiting) >= queue.limit:
            return "queue-full"
        queue.waiting.append(place)
        self.note(leg, "waits in line", f"as number {len(queue.waiting)}")
        if queue.dialers:
            self.tell(queue.dialers.pop(0), queue, place)
        try:
            music = self._music(leg, verb.attributes.get("waitUrl"), base, lambda: self._standing(queue, place), "wait")
            yield from self.listen(leg, place, music)
            with self.hearing(leg):
                yield from self.listen(leg, place, wait())
        except Left:
            return "leave"
        except ApplicationError as error:
            self.note(leg, "loses the line", str(error.code))
            return "error"
        finally:
            queue.waited.append(self.clock.now - place.since)
            if place in queue.waiting:
                queue.waiting.remove(place)
            if place.talks_to:
                self.tell(place.talks_to, place, "over")
        return "bridged"

    def _standing(self, queue: Queue, place: Place) -> Form:
        average = sum(queue.waited) / len(queue.waited) if queue.waited else 0
        position = queue.waiting.index(place) + 1 if place in queue.waiting else 1
        return {
            "QueuePosition": str(position),
            "QueueSid": queue.sid,
            "QueueTime": str(round(self.clock.now - place.since)),
            "AvgQueueTime": str(round(average)),
            "CurrentQueueSize": str(len(queue.waiting)),
        }

    def _music(self, leg: Leg, url: str | None, base: str, fields: Callable[[], Form], kind: Kind) -> Program[None]:
        """Let a leg wait to the documents of a waitUrl, again and again; without one, to Twilio's own music."""
        if url is None:
            self.note(leg, "hears music")
        if not url:
            with self.hearing(leg) if url is None else nullcontext():
                yield None
            return
        page = first = self._page(url, base)
        while True:
            began = self.clock.now
            verbs = yield from self.fetch(leg, page._replace(fields=(*page.fields, *fields().items())), kind)
            for verb in verbs:
                if verb.name not in VERBS[kind]:
                    raise ApplicationError(13238, f"<{verb.name}> cannot stand in a document to wait by")
            page = (yield from self._walk(leg, verbs, page.url)) or first
            if self.clock.now - began < SHORTEST:
                yield 1.0  # a document that takes no time is not asked for as fast as the machine can

    def _dial(self, leg: Leg, verb: Verb, base: str) -> Program[Page | None]:
        if len(verb.nouns) > 1:
            raise ValueError("only one number in a <Dial> can be played")
        noun = verb.nouns[0] if verb.nouns else Verb("Number", {}, verb.text)
        action = verb.attributes.get("action")
        fields: Form = {}
        dialled = {"Conference": self._dial_room, "Queue": self._dial_queue}.get(noun.name, self._dial_person)
        try:
            yield from dialled(leg, verb, noun, base, fields)
        except Gone:
            if action:
                self.report(leg, self._page(action, base, fields))
            raise
        return self._page(action, base, fields) if action else None

    def _dial_person(self, leg: Leg, verb: Verb, noun: Verb, base: str, fields: Form) -> Program[None]:
        child = self.new_leg(
            verb.attributes.get("callerId") or leg.caller,
            noun.text,
            "outbound-dial",
            parent=leg,
            status_url=urljoin(base, noun.attributes.get("statusCallback", ""))
            if "statusCallback" in noun.attributes
            else "",
            events=tuple(noun.attributes.get("statusCallbackEvent", "completed").split()),
        )
        whisper = noun.attributes.get("url")
        page = self._page(whisper, base) if whisper else None
        self.launch(child, self._be_dialled(child, _seconds(verb, "timeout", 30), page))
        fields |= {"DialCallSid": child.sid, "DialCallStatus": "canceled", "DialBridged": "false"}
        try:
            with self.hearing(leg):
                told = yield from self.listen(leg, child, wait())
            if told == "talking":
                self.answer(leg)
                self.note(leg, "talks to", noun.text)
                fields |= {"DialCallStatus": "completed", "DialBridged": "true"}
                with self.hearing(leg):
                    told = yield from self.listen(leg, child, wait(_seconds(verb, "timeLimit", 14_400)))
            fields["DialCallStatus"] = told or "completed"
        finally:
            if noun.name == "Sip":
                fields["DialSipResponseCode"] = SIP_CODES[fields["DialCallStatus"]]
            if child.answered_at is not None and not child.taken:
                fields["DialCallDuration"] = str(round(self.clock.now - child.answered_at))
            if not child.taken:
                self.hang_up(child, "completed" if child.answered_at is not None else "canceled", "is hung up")

    def _be_dialled(self, leg: Leg, timeout: float, whisper: Page | None) -> Program[None]:
        """The other side of a <Dial>: ring, answer, hear the whisper, talk."""
        yield from self.ring(leg, timeout)
        if whisper and not (yield from self.follow(leg, whisper)):
            raise Gone
        if leg.parent:
            self.tell(leg.parent, leg, "talking")
        with self.hearing(leg):
            yield None

    def _dial_queue(self, leg: Leg, verb: Verb, noun: Verb, base: str, fields: Form) -> Program[None]:
        queue = self.queue(noun.text)
        place: Place | None = queue.waiting[0] if queue.waiting else None
        if place is None:
            queue.dialers.append(leg)
            try:
                with self.hearing(leg):
                    place = yield from self.listen(leg, queue, wait())
            finally:
                if leg in queue.dialers:
                    queue.dialers.remove(leg)
        if place is None or place not in queue.waiting:
            return
        queue.waiting.remove(place)
        place.talks_to = leg
        self.tell(place.leg, place, "your turn")
        self.note(leg, "talks to", "the next in line")
        fields |= {"DialCallStatus": "completed", "DialCallSid": place.leg.sid}
        try:
            with self.hearing(leg):
                yield from self.listen(leg, place, wait())
        finally:
            self.tell(place.leg, place, "over")

    def _dial_room(self, leg: Leg, verb: Verb, noun: Verb, base: str, fields: Form) -> Program[None]:
        room = self.rooms.setdefault(noun.text, Room(noun.text, self.make_sid("CF")))
        fields |= {"DialCallStatus": "answered"}
        member = (leg, noun.attributes.get("endConferenceOnExit") == "true")
        room.members.append(member)
        room.started |= noun.attributes.get("startConferenceOnEnter") != "false"
        self._open(room)
        try:
            told = None if room.opened else (yield from self._wait_in_room(leg, noun, base, room))
            while told != "ended":
                others = len(room.members) - 1
                self.note(leg, "is in the room", f"with {others}" if others else "alone")
                with self.hearing(leg) if len(room.members) > 1 else nullcontext():
                    told = yield from self.listen(leg, room, wait())
        finally:
            self._leave_room(room, member)

    def _wait_in_room(self, leg: Leg, noun: Verb, base: str, room: Room) -> Program[str]:
        self.note(leg, "waits in a room")
        fields = {"ConferenceSid": room.sid, "FriendlyName": room.name}
        music = self._music(leg, noun.attributes.get("waitUrl"), base, lambda: fields, "conference_wait")
        return str((yield from self.listen(leg, room, self._silent_after_fault(leg, music))))

    def _silent_after_fault(self, leg: Leg, music: Program[None]) -> Program[None]:
        """A conference goes on without music when its waitUrl fails."""
        try:
            yield from music
        except ApplicationError as error:
            self.note(leg, "hears nothing any more", str(error.code))
            yield None

    def _open(self, room: Room) -> None:
        """A room that may start and has two in it opens; those who are in it learn that somebody came."""
        if room.started and len(room.members) > 1:
            room.opened = True
            for leg, _ in room.members[:-1]:
                self.tell(leg, room, "open")

    def _leave_room(self, room: Room, member: tuple[Leg, bool]) -> None:
        room.members.remove(member)
        _, ends = member
        if (not room.members or ends) and self.rooms.get(room.name) is room:
            del self.rooms[room.name]
        if ends or room.opened:
            for other, _ in room.members:
                self.tell(other, room, "ended" if ends else "open")


def _seconds(verb: Verb, name: str, default: float) -> float:
    return float(verb.attributes.get(name, default))


def _times(verb: Verb) -> int:
    return int(verb.attributes.get("loop", "1")) or FOR_EVER


def person_of(people: Mapping[str, Person | Sequence[Person]], dialled: str, nth: int) -> Person:
    """Who answers at a number or a SIP address, at the `nth` call to it; of several the last one stays."""
    found = people.get(re.split("[;?]", dialled)[0], Person())
    return found if isinstance(found, Person) else found[min(nth, len(found) - 1)]
