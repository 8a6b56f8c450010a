"""A caller, a person and Twilio between them, around the real steps of a transfer: for tests that play whole ones.

Twilio is `devkit.exchange` in virtual time; the assistant is a media stream that nobody ends.
"""

from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

import httpx

from devkit.exchange import Callbacks, Exchange, Person, Reply
from devkit.exchange_legs import Leg
from switchboard import legs, routes, transfers, twiml
from switchboard.errors import RemoteError, SwitchboardError, Unavailable
from switchboard.line import Asked
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.toolcalls import OPEN_SHARDS
from switchboard.transfers import Moved, Switch
from switchboard.twilio_rest import Twilio
from tests.conftest import Clock
from tests.twin import BASE_URL, Parameters

PERSON, CALLER, DIALLED = "+15555550199", "+15555550134", "+15555550100"
CALL = "c0ffee00-0000-4000-8000-000000000001"
SUMMARY = "Ms Doe wants to move her appointment to Thursday."
ASSISTANT = '<Response><Connect><Stream url="wss://assistant.example.com/{turn}"/></Connect></Response>'
STATES = tuple(state.value for state in transfers.State)


class Killed(BaseException):
    """The process is gone; not an `Exception`, so that nothing of the package can catch it and go on."""


class Handover:
    """A backend with the transfer's routes and little else. `people` behave as they are told to."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        store: Store,
        person: Person,
        callbacks: Callbacks = Callbacks(),  # noqa: B008 - a tuple
        seed: int = 0,
    ) -> None:
        self.clock, self.store, self.settings = clock, store, settings
        secrets = Secrets(
            settings.parameter_path, (TWILIO_AUTH_TOKEN, PUBLIC_BASE_URL), Parameters(settings), lambda: clock.now
        )
        self.exchange = Exchange(
            self._post,
            clock,
            public_url=BASE_URL,
            people={PERSON: person},
            callbacks=callbacks,
            seed=seed,
            on_closed=lambda leg, _url, _by: self.hung_up_on.append(leg.sid),
        )
        self.requests: list[httpx.Request] = []
        self.rest: Callable[[httpx.Request], httpx.Response] = self.exchange.handle
        twilio = Twilio(settings.twilio_url, httpx.MockTransport(self._asked_by_rest))
        self.switch = Switch(settings, secrets, store, twilio, clock, {"reception": PERSON})
        self.hung_up_on: list[str] = []
        self.backs: list[transfers.Back] = []
        self.before: Callable[[Asked], None] = lambda asked: None
        self.told_twice = True
        """Whether Twilio tells a status again whose callback died."""
        self.sweeps = True

    def ring(self, caller: str = CALLER, hangs_up_after: float | None = None) -> Leg:
        """Somebody calls and talks to the assistant."""
        leg = self.exchange.call(caller, DIALLED, Person(hangs_up_after=hangs_up_after))
        self.run(2)
        return leg

    def run(self, seconds: float) -> None:
        """Let time pass, with the sweeper once a minute."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            minute = (int(self.clock.now) // 60 + 1) * 60
            self.exchange.run(until=min(minute, end))
            if self.clock.now >= minute and self.sweeps:
                self.sweep()

    def sweep(self) -> None:
        """Look after everything that is due."""
        for shard in range(OPEN_SHARDS):
            for key in self.store.due(f"OPEN#{shard}", int(self.clock.now)):
                if not key.pk.startswith(transfers.PREFIX):
                    continue
                with suppress(Killed, SwitchboardError):
                    transfers.sweep(self.switch, key, self.clock.now)

    def ask(self, leg: Leg, asked_by: str = "row-1", name: str = "reception", summary: str = SUMMARY) -> Moved | None:
        """The assistant's tool asks for the transfer; None where that fails and will be repeated."""
        with suppress(Killed, RemoteError, Unavailable):
            return transfers.start(self.switch, leg.sid, CALL, name, summary, self.clock.now, asked_by=asked_by)
        return None

    def stored(self, leg: Leg) -> Moved:
        """The transfer as it is."""
        stored = transfers.load(self.store, leg.sid, self.clock.now)
        assert stored
        return stored

    def story(self, leg: Leg) -> str:
        """Who heard what and when, and which steps the transfer took."""
        item = self.store.get(transfers.key(leg.sid)) or {}
        began = self.exchange.timeline[0].at
        steps = sorted((item[f"{name}_at"], STATES.index(name), name) for name in STATES if f"{name}_at" in item)
        taken = " ".join(f"{name}@{at / 1000 - began:g}" for at, _, name in steps)
        names = {sid: "person" for sid in self.exchange.legs} | {leg.sid: "caller"}
        return f"{self.exchange.story(names)}\n{taken} outcome={item.get('outcome', '')}"

    def callers_end(self, leg: Leg) -> str:
        """Where the caller is: with the assistant, with a person, gone, or lost."""
        if leg.over:
            return "gone"
        if self.on_stream(leg):
            return "assistant"
        room = self.exchange.rooms.get(f"transfer-{leg.sid}")
        return "person" if room and len(room.members) > 1 else "lost"

    @staticmethod
    def on_stream(leg: Leg) -> bool:
        """Whether the caller talks to the assistant."""
        return leg.stream in leg.listens_to

    def persons(self) -> list[Leg]:
        """The legs to people, in the order in which they were placed."""
        return [leg for leg in self.exchange.legs.values() if leg.direction == "outbound-api"]

    def _asked_by_rest(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.rest(request)

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Reply:
        parts = urlsplit(url)
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        asked = Asked(fields, parts.path, dict(parse_qsl(parts.query)))
        try:
            self.before(asked)
            document = self.answer(asked)
        except (Killed, SwitchboardError):
            lost = asked.path in (routes.LEG, routes.STATUS) and not self.told_twice
            return Reply(204 if lost else 503)
        return Reply(200, "text/xml", document.encode()) if document else Reply(204)

    def answer(self, asked: Asked) -> str:
        """What a webhook is answered, '' for none."""
        now = self.clock.now
        match asked.path:
            case routes.INBOUND:
                facts = {"account": asked.fields["AccountSid"], "dialled": asked.fields["To"]}
                legs.open_leg(self.store, asked.call_sid, facts, 1800, now)
                return ASSISTANT.format(turn=0)
            case routes.BACK:
                over = asked.fields["CallStatus"] in legs.OVER
                back = transfers.back(self.store, asked.call_sid, now, number=asked.number("n"), over=over)
                self.backs.append(back)
                return ASSISTANT.format(turn=back.number) if back.returns else twiml.hang_up()
            case routes.STATUS:
                if asked.fields["CallStatus"] in legs.OVER:
                    transfers.caller_gone(self.switch, asked.call_sid, now)
                return ""
            case routes.LEG:
                transfers.leg_status(self.switch, asked, now)
                return ""
        handlers = {
            routes.HOLD: transfers.hold,
            routes.MUSIC: transfers.music,
            routes.BRIEF: transfers.brief,
            routes.ACCEPT: transfers.accept,
        }
        return handlers[asked.path](self.switch, asked, now)
