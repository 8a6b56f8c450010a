"""Guards that are taken away, one at a time, from every write on its way to the table: a mutant is a world without one."""

from collections.abc import Callable
from typing import NamedTuple

from switchboard.store import Check, Put, Update
from tests.simulation.rules import Write


class Guard(NamedTuple):
    """A part of a condition or change, as the package writes it, and what is left without it."""

    text: str
    without: str = ""
    kind: type[Put | Update | Check] = Update

    def weaken(self, noticed: Callable[[], None]) -> Callable[[Write], Write]:
        """Take it away; `noticed` is called where it was found."""

        def weakened(write: Write) -> Write:
            if not isinstance(write, self.kind):
                return write
            condition = write.condition.replace(self.text, self.without)
            change = write.change.replace(self.text, self.without) if isinstance(write, Update) else ""
            if condition != write.condition or (isinstance(write, Update) and change != write.change):
                noticed()
            if isinstance(write, Update):
                return write._replace(condition=condition, change=change)
            return write._replace(condition=condition)

        return weakened


ANY = "attribute_exists(#pk)"
FENCE = "#state = :running AND #owner = :owner AND #attempt = :attempt"

GUARDS = {
    "put if absent": Guard("attribute_not_exists(#pk) OR #exp <= :now", "", Put),
    "claim before the deadline": Guard("#deadline > :now AND "),
    "claim after the lease": Guard(" AND #lease < :now AND (#intent", " AND (#intent"),
    "claim again only what may be repeated": Guard(" AND (#intent = :false OR #effect IN (:read, :keyed))"),
    "intent": Guard("SET #intent = :true", "SET #begun = :true"),
    "fence": Guard(FENCE, ANY),
    "settle only what is over": Guard(" AND #lease < :now AND (#deadline", " AND (#deadline"),
    "deliver once": Guard("#delivery = :pending", ANY),
    "deliver while the call lives": Guard("#rank < :ended AND ", "", Check),
    "deliver in the same turn": Guard("#interrupted_at = :interrupted", ANY, Check),
    "deliver when nobody has begun to speak": Guard("#caller_started_at = :started", ANY, Check),
}
