"""Call scripts: who says what when, in YAML. `devkit/calls/README.md` describes the format to those who write one.

Reading a script either gives a `Script` or raises `UserError` with the file and the step. Expressions in double braces
are checked while reading and filled in while playing, because they speak of now.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from devkit.errors import UserError
from devkit.exchange_legs import Person

BEHAVIOURS = ("no-answer", "busy", "failed", "voicemail")  # of those who do not take a call
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EXPRESSION = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_WHEN = re.compile(
    r"(?:next\s+(?P<day>[a-z]+)|(?P<near>today|tomorrow)|in\s+(?P<days>\d{1,3})\s+days?)"
    r"\s+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?P<spoken>\s+spoken)?"
)
_RESULT = re.compile(r"result(?:\s+(?P<tool>[A-Za-z0-9_-]+))?(?:\s+/(?P<pattern>.+)/)?")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


class Caller(NamedTuple):
    """The call itself. `pace` is how many times faster than people the speakers speak; `zone` is that of the times."""

    kind: str
    number: str
    dialled: str = "+15555550100"
    name: str = "caller"
    zone: ZoneInfo = ZoneInfo("UTC")
    pace: float = 1.0


class Speech(NamedTuple):
    """Words of `assistant` or `user`. An interrupting caller cuts off the assistant's words of the step before."""

    role: str
    words: str
    interrupts: bool = False


class ToolUse(NamedTuple):
    """The model runs a tool. `expect` maps `result`, `error` or `spoken` to words that must be in the answer."""

    name: str
    arguments: Mapping[str, Any]
    says: str = ""
    expect: Mapping[str, str] = {}


class Tools(NamedTuple):
    """One `tool-calls` message; duplicated, it is sent twice at the same time."""

    uses: tuple[ToolUse, ...]
    duplicate: bool = False


class Hear(NamedTuple):
    """Wait until the backend has had `contains` spoken into the live call; `says` are then the model's own words."""

    contains: str
    within: float = 10.0
    says: str = ""


class Forged(NamedTuple):
    """Somebody without the secret sends a `webhook`, or a `phone` call; it must be refused."""

    what: str


class Hangup(NamedTuple):
    """`caller` or `assistant` ends the call; or `transfer`: the backend moves the caller away from the assistant."""

    by: str


class Report(NamedTuple):
    """Vapi's end-of-call report."""

    summary: str = ""


class Pause(NamedTuple):
    """Nothing happens for so many seconds."""

    seconds: float


class Back(NamedTuple):
    """Wait until the backend has brought a caller who was moved away back to an assistant, in a new call at Vapi."""

    within: float = 30.0


type Step = Speech | Tools | Hear | Forged | Hangup | Report | Pause | Back


class Phone(NamedTuple):
    """A telephone that the backend may call: whose it is, and how they behave."""

    name: str
    person: Person


class Script(NamedTuple):
    """A call that can be played. `phones` are those of others than the caller, by number."""

    name: str
    call: Caller
    steps: tuple[Step, ...]
    phones: Mapping[str, Phone] = {}

    @property
    def transferred(self) -> bool:
        """Whether the caller is moved from telephone to telephone."""
        return any(isinstance(step, Hangup) and step.by == "transfer" for step in self.steps)


class Scene(NamedTuple):
    """What expressions are filled in from while a script plays."""

    now: datetime
    greeting: str = ""
    results: Mapping[str, str] = {}
    """What each tool has answered last, in the order of those answers."""


def load(path: Path) -> Script:
    """Read a script; `UserError` says in one line which file, which step and what is wrong with it."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: this is not YAML: {getattr(error, 'problem', None) or error}") from error
    return parse(document, str(path))


def parse(document: Any, name: str) -> Script:
    """Read a script from what its YAML holds; `name` is used in errors."""
    reader = _Reader(name)
    if not isinstance(document, dict) or set(document) - {"phones"} != {"call", "steps"}:
        reader.refuse("a script has two parts, call and steps, and perhaps a third one, phones")
    call = reader.at("call").call(document["call"])
    if not isinstance(document["steps"], list) or not document["steps"]:
        reader.at("steps").refuse("steps is a list with at least one step")
    steps: list[Step] = []
    for number, entry in enumerate(document["steps"], 1):
        here = reader.at(f"step {number}")
        steps.append(here.step(entry))
        here.fits(steps)
    script = Script(name, call, tuple(steps), reader.at("phones").phones(document.get("phones", {})))
    if script.transferred and call.kind != "bypass":
        reader.refuse("only a call of kind bypass can be transferred: of any other, Twilio's side is not ours")
    return script


class _Reader:
    """Reads parts of a script, and knows where it is in it."""

    def __init__(self, file: str, place: str = "") -> None:
        self.file, self.place = file, place

    def at(self, place: str) -> "_Reader":
        return _Reader(self.file, place)

    def refuse(self, why: str) -> NoReturn:
        raise UserError(f"{self.file}, {self.place}: {why}" if self.place else f"{self.file}: {why}")

    def call(self, value: Any) -> Caller:
        fields = self.mapping(value, required=("kind", "from"), optional=("to", "name", "zone", "pace"))
        if fields["kind"] not in ("bypass", "imported"):
            self.refuse("kind is bypass (Twilio asks us first) or imported (Vapi asks us with assistant-request)")
        for key in ("from", "to"):
            if key in fields:
                self.phone_number(fields[key], key)
        defaults = Caller._field_defaults
        return Caller(
            kind=fields["kind"],
            number=fields["from"],
            dialled=str(fields.get("to", defaults["dialled"])),
            name=str(fields.get("name", defaults["name"])),
            zone=self.zone(fields["zone"]) if "zone" in fields else defaults["zone"],
            pace=self.number(fields.get("pace", defaults["pace"]), "pace"),
        )

    def phones(self, value: Any) -> dict[str, Phone]:
        if not isinstance(value, dict):
            self.refuse("phones is a mapping of phone numbers to who answers there")
        return {self.phone_number(number, "the key"): self.phone(entry) for number, entry in value.items()}

    def phone(self, value: Any) -> Phone:
        fields = self.mapping(value, required=("name", "behaviour"), optional=("after",))
        behaviour = self.choice(fields["behaviour"], "behaviour", BEHAVIOURS)
        after = self.number(fields.get("after", Person.answers_after), "after")
        return Phone(str(fields["name"]), Person(behaviour, answers_after=after))  # type: ignore[arg-type]  # one of them

    def phone_number(self, value: Any, name: str) -> str:
        if not (isinstance(value, str) and _NUMBER.fullmatch(value)):
            self.refuse(f'{name} is a phone number in quotes, like "+15555550134"')
        return value

    def zone(self, value: Any) -> ZoneInfo:
        try:
            return ZoneInfo(str(value))
        except (ZoneInfoNotFoundError, ValueError):
            self.refuse(f"zone {value!r} is not a time zone like Europe/Berlin")

    def step(self, entry: Any) -> Step:
        if entry in ("report", "back"):
            return Report() if entry == "report" else Back()
        if not isinstance(entry, dict):
            self.refuse(f"a step begins with one of {', '.join(_STEPS)}")
        kinds = [kind for kind in _STEPS if kind in entry]
        if len(kinds) != 1:
            self.refuse(f"a step is exactly one of {', '.join(_STEPS)}, not {', '.join(map(str, entry)) or 'empty'}")
        extra = {key: value for key, value in entry.items() if key != kinds[0]}
        if extra and kinds[0] != "caller":
            self.refuse(f"{', '.join(map(str, extra))} does not belong beside {kinds[0]}")
        return _STEPS[kinds[0]](self, entry[kinds[0]], extra)

    def fits(self, steps: list[Step]) -> None:
        """Refuse a step that makes no sense after the ones before it."""
        step, earlier = steps[-1], steps[:-1]
        if isinstance(step, Speech) and step.interrupts and not (earlier and _speaks(earlier[-1])):
            self.refuse("there is nothing to interrupt: in the step before, the assistant does not speak")
        ends = [one for one in earlier if isinstance(one, Hangup | Back)]
        last = ends[-1] if ends else None
        if isinstance(step, Back) and last != Hangup("transfer"):
            self.refuse("nobody can come back who has not left: back follows a hangup: transfer")
        if isinstance(last, Hangup) and isinstance(step, Speech | Tools | Hear | Hangup):
            self.refuse("the call is over: after a hangup only report, forged, pause and back can follow")

    def assistant(self, value: Any, _: Mapping[str, Any]) -> Speech:
        return Speech("assistant", self.words(value))

    def caller(self, value: Any, extra: Mapping[str, Any]) -> Speech:
        options = self.mapping(extra, optional=("interrupts",))
        return Speech("user", self.words(value), interrupts=self.flag(options.get("interrupts", False), "interrupts"))

    def tool(self, value: Any, _: Mapping[str, Any]) -> Tools:
        entries = value if isinstance(value, list) and value else [value]
        uses, duplicate = [], False
        for entry in entries:
            fields = self.mapping(entry, required=("name",), optional=("arguments", "says", "expect", "duplicate"))
            duplicate |= self.flag(fields.get("duplicate", False), "duplicate")
            arguments = fields.get("arguments") or {}
            if not isinstance(arguments, dict):
                self.refuse("arguments is a mapping of names to values")
            says = self.words(fields["says"]) if "says" in fields else ""
            self.check(arguments)
            uses.append(ToolUse(str(fields["name"]), arguments, says, self.expectation(fields.get("expect"))))
        return Tools(tuple(uses), duplicate)

    def expectation(self, value: Any) -> Mapping[str, str]:
        if value is None:
            return {}
        if isinstance(value, str):
            value = {"result": value}
        fields = self.mapping(value, optional=("result", "error", "spoken"))
        return {key: self.words(part) for key, part in fields.items()}

    def hear(self, value: Any, _: Mapping[str, Any]) -> Hear:
        fields = self.mapping(
            {"contains": value} if isinstance(value, str) else value,
            required=("contains",),
            optional=("within", "says"),
        )
        within = self.number(fields.get("within", Hear._field_defaults["within"]), "within")
        return Hear(self.words(fields["contains"]), within, self.words(fields["says"]) if "says" in fields else "")

    def forged(self, value: Any, _: Mapping[str, Any]) -> Forged:
        return Forged(self.choice(value, "forged", ("webhook", "phone")))

    def hangup(self, value: Any, _: Mapping[str, Any]) -> Hangup:
        return Hangup(self.choice(value, "hangup", ("caller", "assistant", "transfer")))

    def back(self, value: Any, _: Mapping[str, Any]) -> Back:
        fields = self.mapping(value or {}, optional=("within",))
        return Back(self.number(fields.get("within", Back._field_defaults["within"]), "within"))

    def report(self, value: Any, _: Mapping[str, Any]) -> Report:
        fields = self.mapping(value or {}, optional=("summary",))
        return Report(self.words(fields["summary"]) if "summary" in fields else "")

    def pause(self, value: Any, _: Mapping[str, Any]) -> Pause:
        return Pause(self.number(value, "pause"))

    def mapping(self, value: Any, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.refuse(f"here belong fields: {', '.join(required + optional)}")
        if missing := [name for name in required if name not in value]:
            self.refuse(f"{missing[0]} is missing")
        if unknown := [str(name) for name in value if name not in required + optional]:
            self.refuse(f"{unknown[0]} is not known here; known: {', '.join(required + optional)}")
        return value

    def words(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self.refuse(f"words are missing, or not text: {value!r}")
        self.check(value)
        return value

    def number(self, value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 600:
            self.refuse(f"{name} is a number above 0 and at most 600")
        return float(value)

    def flag(self, value: Any, name: str) -> bool:
        if not isinstance(value, bool):
            self.refuse(f"{name} is true or false")
        return value

    def choice(self, value: Any, name: str, choices: tuple[str, ...]) -> str:
        if value not in choices:
            self.refuse(f"{name} is one of {', '.join(choices)}")
        return str(value)

    def check(self, value: Any) -> None:
        """Refuse an expression that nothing could be filled in for."""
        if isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                self.check(part)
        elif isinstance(value, str):
            for expression in _EXPRESSION.findall(value):
                if problem := _problem(expression):
                    self.refuse(problem)


_STEPS: dict[str, Callable[[_Reader, Any, Mapping[str, Any]], Step]] = {
    "assistant": _Reader.assistant,
    "caller": _Reader.caller,
    "tool": _Reader.tool,
    "hear": _Reader.hear,
    "forged": _Reader.forged,
    "hangup": _Reader.hangup,
    "report": _Reader.report,
    "pause": _Reader.pause,
    "back": _Reader.back,
}


def _speaks(step: Step) -> bool:
    return isinstance(step, Tools | Hear) or (isinstance(step, Speech) and step.role == "assistant")


def _problem(expression: str) -> str:
    if expression == "greeting":
        return ""
    if match := _RESULT.fullmatch(expression):
        try:
            re.compile(match["pattern"] or "")
        except re.error as error:
            return f"{{{{ {expression} }}}}: the pattern is not a regular expression: {error}"
        return ""
    match = _WHEN.fullmatch(expression.lower())
    if match and (match["day"] or DAYS[0]) in DAYS and int(match["hour"]) < 24 and int(match["minute"]) < 60:
        return ""
    return (
        f"{{{{ {expression} }}}} is not known; known are greeting, result, result /pattern/, result tool /pattern/, and times like "
        "next thursday 14:00, tomorrow 9:30, in 3 days 10:00, each also with spoken behind it"
    )


def fill(value: Any, scene: Scene) -> Any:
    """Return `value` with its expressions filled in; mappings and lists are gone through."""
    if isinstance(value, str):
        return _EXPRESSION.sub(lambda match: _value(match[1], scene), value)
    if isinstance(value, dict):
        return {key: fill(part, scene) for key, part in value.items()}
    if isinstance(value, list):
        return [fill(part, scene) for part in value]
    return value


def _value(expression: str, scene: Scene) -> str:
    if expression == "greeting":
        return scene.greeting
    if match := _RESULT.fullmatch(expression):
        return _part_of_result(expression, match, scene)
    moment = when(expression, scene.now)
    return spoken(moment) if expression.lower().endswith("spoken") else moment.isoformat()


def _part_of_result(expression: str, match: re.Match[str], scene: Scene) -> str:
    tool = match["tool"] or next(reversed(list(scene.results)), "")
    found = re.search(match["pattern"] or ".*", scene.results[tool]) if tool in scene.results else None
    if found is None:
        raise UserError(f"{{{{ {expression} }}}}: no tool has answered that yet")
    return found[0]


def when(expression: str, now: datetime) -> datetime:
    """Return the moment that words like `next thursday 14:00` mean, in the zone of `now`."""
    match = _WHEN.fullmatch(expression.lower())
    if match is None:
        raise ValueError(f"not a time: {expression!r}")
    if match["day"]:
        # Never today: "next Thursday", said on a Thursday, is in a week.
        days = (DAYS.index(match["day"]) - now.weekday() - 1) % 7 + 1
    else:
        days = int(match["days"]) if match["days"] else ("today", "tomorrow").index(match["near"])
    return datetime.combine(
        (now + timedelta(days=days)).date(), time(int(match["hour"]), int(match["minute"])), now.tzinfo
    )


def spoken(moment: datetime) -> str:
    """Say a moment as people do: Thursday, November 26 at 2:00 PM."""
    return f"{moment:%A}, {moment:%B} {moment.day} at {moment.hour % 12 or 12}:{moment:%M %p}"
