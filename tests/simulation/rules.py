"""What must hold in every world, whatever was killed, repeated, reordered or lost in it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from switchboard import delivery
from switchboard.calls import ENDED
from switchboard.delivery import SPEAKING_SECONDS, SUBSTANTIAL_WORDS
from switchboard.store import Check, Item, Key, Put, Update
from switchboard.sweeper import OWNER_SECONDS
from switchboard.toolcalls import Row, State
from tests.memory import Memory
from tests.simulation.process import Process

type Write = Put | Update | Check

STEPS = {
    ("", "RECEIVED"),
    ("", "RUNNING"),  # inline: it is recorded while it is being run
    ("", "SUCCEEDED"),  # an inline look-up: it is recorded when it is done
    ("", "FAILED"),
    ("RECEIVED", "RUNNING"),
    ("RECEIVED", "EXPIRED"),
    ("RUNNING", "SUCCEEDED"),
    ("RUNNING", "FAILED"),
    ("RUNNING", "UNKNOWN"),
    ("RUNNING", "EXPIRED"),
    ("UNKNOWN", "SUCCEEDED"),
    ("UNKNOWN", "FAILED"),
}
DELIVERY_STEPS = {
    ("none", "pending"),
    ("pending", "claimed"),
    ("pending", "dropped"),
    ("claimed", "pending"),
    ("claimed", "delivered"),
    ("claimed", "undeliverable"),
    ("claimed", "dropped"),
}
FIXED = ("tool", "lane", "effect", "arguments", "digest", "emitted_at", "accepted_at", "caller")
FIXED_AT_THE_END = ("attempt", "owner", "lease", "intent")


class Violation(BaseException):
    """Something happened that never may. Not an `Exception`, so that no code under test swallows it."""


@dataclass
class Rules:
    """Watches a world. Everything it knows was really stored, done or heard: it trusts no code of the package."""

    effects: list[tuple[Row, str]] = field(default_factory=list)
    heard: list[tuple[str, bool]] = field(default_factory=list)
    reminded: list[str] = field(default_factory=list)
    claims: dict[tuple[str, str], bool] = field(default_factory=dict)
    owners: dict[tuple[str, str], str] = field(default_factory=dict)

    def copy(self) -> "Rules":
        """The same, to go on with in another direction."""
        return Rules(
            self.effects.copy(), self.heard.copy(), self.reminded.copy(), self.claims.copy(), self.owners.copy()
        )

    def stored(self, table: dict[Key, Item], key: Key, before: Item | None, process: Process | None) -> None:
        """A row was written."""
        after = table[key]
        if not key.sk.startswith("TOOL#") or before == after:
            return
        old, new = (before or {}), after
        _demand(before is None or all(old[name] == new[name] for name in FIXED), f"what was asked for changed: {key}")
        step = old.get("state", ""), new["state"]
        _demand(step[0] == step[1] or step in STEPS, f"{key.sk} went from {step[0]} to {step[1]}")
        acted = old.get("intent", False) and old["effect"] != "read"
        _demand(
            step != ("RUNNING", "EXPIRED") or not acted, f"{key.sk} is said not to have been done, and may have been"
        )
        delivered = old.get("delivery", "none"), new["delivery"]
        _demand(
            delivered[0] == delivered[1] or delivered in DELIVERY_STEPS,
            f"the delivery of {key.sk} went from {delivered[0]} to {delivered[1]}",
        )
        if before and State(old["state"]).settled:
            kept = all(old[name] == new[name] for name in FIXED_AT_THE_END)
            _demand(kept, f"{key.sk} was given to somebody when it was over")
            _demand(old["result"] == new["result"] or step[0] != step[1], f"the result of {key.sk} changed afterwards")
        if process:
            self._taken(table, key, old, new, process)

    def _taken(self, table: dict[Key, Item], key: Key, old: Item, new: Item, process: Process) -> None:
        """What belongs to somebody: the work on a row, and its delivery."""
        if old and new["attempt"] != old["attempt"]:
            self._claimed(key, old, new, process)
        if new["attempt"] != old.get("attempt", 0):
            self.owners[key.sk, "work"] = process.name
        if old.get("delivery") == "pending" and new["delivery"] == "claimed":
            self._delivery_claimed(table, key, new, process)
            self.owners[key.sk, "delivery"] = process.name
        closed = old.get("state") == "RUNNING" and new["state"] in ("UNKNOWN", "EXPIRED")
        if closed and self.owners.get((key.sk, "work")) != process.name:
            _demand(old["lease"] < process.clock * 1000, f"{key.sk} was closed while somebody was at it")
        ended = old.get("delivery") == "claimed" and new["delivery"] != "claimed"
        if ended and self.owners[key.sk, "delivery"] != process.name:
            lost = old["delivery_at"] < (process.clock - OWNER_SECONDS) * 1000
            _demand(lost and new["delivery"] == "undeliverable", f"the delivery of {key.sk} was ended by another")

    def _claimed(self, key: Key, old: Item, new: Item, process: Process) -> None:
        now = process.clock * 1000
        _demand(new["attempt"] == old["attempt"] + 1, f"{key.sk} skipped an attempt")
        _demand(new["deadline"] > now - 1, f"{key.sk} was begun after its deadline")
        if old["state"] == "RUNNING":
            _demand(old["lease"] < now, f"{key.sk} was taken from somebody who was at it")
            _demand(
                not (old["intent"] and old["effect"] == "once"), f"{key.sk} was begun again after it may have acted"
            )

    def _delivery_claimed(self, table: dict[Key, Item], key: Key, row: Item, process: Process) -> None:
        session = table.get(Key(key.pk, "META"), {})
        _demand(session.get("rank", 0) < ENDED, f"{key.sk} was to be spoken after the end of the call was stored")
        self.claims[process.name, key.sk] = left(table, row) or speaking(session, process.clock)

    def acted(self, row: Row, argument: str) -> None:
        """A tool did something outside."""
        _demand(argument in row.arguments, f"{row.key.sk} acted with the arguments of a conflicting call")
        self.effects.append((row, argument))
        same = [other for other, _ in self.effects if other.key == row.key]
        _demand(row.effect != "once" or len(same) == 1, f"{row.key.sk} acted twice")
        _demand(len({other.idempotency_key for other in same}) == 1, f"{row.key.sk} acted under two keys")
        if row.tool == "order":
            twins = [other for other, _ in self.effects if other.digest == row.digest]
            _demand(len(twins) == 1, f"{row.key.sk} did again what the model had only repeated")

    def posted(self, process: Process, words: str, triggered: bool, *, heard: bool) -> None:
        """Something reached Vapi; `heard` says whether it came into the call."""
        sk = process.subject
        if words == delivery.REMINDER:
            self.reminded.append(sk)
            _demand(self.reminded.count(sk) == 1, f"the assistant was reminded of {sk} twice")
            return
        claim = self.claims.pop((process.name, sk), None)
        _demand(claim is not None, f"{sk} was sent without having been claimed")
        _demand(not (claim and triggered), f"{sk} was spoken although the caller was speaking or had gone on")
        if heard:
            self.heard.append((sk, triggered))
            _demand([one for one, _ in self.heard].count(sk) == 1, f"{sk} was given to the call twice")

    def over(self, table: dict[Key, Item]) -> None:
        """At the end nothing is unfinished, and nothing stands in the index."""
        for row in rows(table):
            _demand(not is_open(row), f"{row['sk']} stays {row['state']}, its delivery {row['delivery']}")
            _demand("g1pk" not in row, f"{row['sk']} is over and still in the index")


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)


def rows(table: dict[Key, Item]) -> list[Item]:
    """All tool calls."""
    return [item for key, item in table.items() if key.sk.startswith("TOOL#")]


def is_open(row: Item) -> bool:
    """Whether anything is still to be done."""
    return row["state"] in ("RECEIVED", "RUNNING") or row["delivery"] in ("pending", "claimed")


def left(table: dict[Key, Item], row: Item) -> bool:
    """Whether the caller interrupted the turn of this row and then went on to something else."""
    interrupted = table.get(Key(row["pk"], "META"), {}).get("interrupted_at", 0)
    if interrupted <= row["emitted_at"]:
        return False
    return any(other["emitted_at"] > interrupted for other in rows(table)) or any(
        key.sk.startswith("TR#")
        and key.sk.split("#")[2] == "user"
        and int(key.sk.split("#")[1]) >= interrupted
        and len(line["words"].split()) >= SUBSTANTIAL_WORDS
        for key, line in table.items()
    )


def speaking(session: Item, now: float) -> bool:
    """Whether the caller is speaking now."""
    started = session.get("caller_started_at", 0)
    return bool(started > session.get("caller_stopped_at", 0) and now * 1000 - started < SPEAKING_SECONDS * 1000)


class Watched(Memory):
    """The table, with the rules looking at every write. `weaken` takes a guard away: then the rules must notice."""

    def __init__(self, rules: Callable[[], Rules], weaken: Callable[[Write], Write] = lambda write: write) -> None:
        super().__init__()
        self._rules = rules
        self._weaken = weaken

    def put(self, put: Put) -> None:
        """Write an item."""
        write = self._weaken(put)
        assert isinstance(write, Put)
        self._watch([Key(put.item["pk"], put.item["sk"])], lambda: super(Watched, self).put(write))

    def update(self, update: Update) -> Item:
        """Change an item."""
        write = self._weaken(update)
        assert isinstance(write, Update)
        changed: list[Item] = []
        self._watch([update.key], lambda: changed.append(super(Watched, self).update(write)))
        return changed[0]

    def transact(self, writes: Iterable[Write], token: str) -> None:
        """All or nothing."""
        listed = [self._weaken(write) for write in writes]
        keys = [write.key for write in listed if isinstance(write, Update)]
        self._watch(keys, lambda: super(Watched, self).transact(listed, token))

    def _watch(self, keys: list[Key], write: Callable[[], None]) -> None:
        before = {key: self.table.get(key) for key in keys}
        write()
        for key in keys:
            self._rules().stored(self.table, key, before[key], Process.running)
