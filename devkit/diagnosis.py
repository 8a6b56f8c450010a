"""What the doctor works with and what it says: what a stack expects, and one sentence about one request.

A sentence names ids, header names, hosts and settings. It never holds a secret, a signature or anything of a body.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from switchboard.signatures import Scheme, Secret


class Stored(NamedTuple):
    """One secret that is known here. `where` is '' for the parameter that is asked, else what it really is."""

    id: str
    value: str
    ended: bool = False
    where: str = ""


class Expected(NamedTuple):
    """How one stack checks what comes in. `unreadable` tells a parameter that is set and holds no list of secrets.

    `tolerance` is in seconds; `now` (epoch seconds) is when the request arrived, or the present if nobody knows.
    `base_url` is '' where it is not known.
    """

    scheme: Scheme
    tolerance: int
    now: float
    arrival_known: bool
    secrets: tuple[Stored, ...]
    unreadable: bool = False
    base_url: str = ""
    signed_urls: tuple[str, ...] = ()
    account_sids: frozenset[str] = frozenset()
    org_ids: frozenset[str] = frozenset()
    assistant_ids: frozenset[str] = frozenset()

    @property
    def active(self) -> list[Secret]:
        """The secrets that a function would have tried."""
        return [Secret(one.id, one.value) for one in self.secrets if not one.ended and not one.where]


class Mistake(NamedTuple):
    """One row of a table of mistakes: why a signature fails, and what to change. Both may name `{details}`."""

    why: str
    change: str


class Step(NamedTuple):
    """A mistake that was found, and the details that its words need."""

    name: str
    details: Mapping[str, str] = {}


class Diagnosis(NamedTuple):
    """The doctor's answer. `mistakes` are the names of the rows, none where the request verifies."""

    verified: bool
    sentence: str
    mistakes: tuple[str, ...] = ()


def fault(table: Mapping[str, Mistake], steps: Iterable[Step]) -> Diagnosis:
    """One sentence about all the mistakes that it took."""
    found = list(steps)
    whys = [table[step.name].why.format_map(dict(step.details)) for step in found]
    changes = [table[step.name].change.format_map(dict(step.details)) for step in found]
    said = f"The signature fails because {', and '.join(whys)}: {', and '.join(dict.fromkeys(changes))}."
    return Diagnosis(False, said, tuple(step.name for step in found))


def foreign(secret: Stored) -> tuple[Step, ...]:
    """The mistake that it is to have signed with this secret, if it is one."""
    details = {"id": secret.id, "where": secret.where}
    if secret.where:
        # Another parameter of this stack has a name, another stack is described.
        return (Step("secret_of_stack" if " " in secret.where else "secret_of_parameter", details),)
    return (Step("secret_ended", details),) if secret.ended else ()


def age(seconds: float) -> str:
    """A time as people say it: `400 seconds`, `12 minutes`, `3 hours`, `12 days`."""
    for size, least, unit in ((86400, 2, "days"), (3600, 2, "hours"), (60, 10, "minutes")):
        if abs(seconds) >= least * size:
            return f"{abs(seconds) / size:.0f} {unit}"
    return f"{abs(seconds):.0f} seconds"
