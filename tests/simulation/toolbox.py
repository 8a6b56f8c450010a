"""The tools of the simulated worlds: one of every kind. Acting, and hearing how that went, are two steps."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from switchboard.tools import Call, Toolbox
from tests.simulation.process import current

WORDS = "One moment."


@cache
def toolbox() -> Toolbox:
    """Made once: the tools hold nothing."""
    box = Toolbox()
    add(box, "look", effect="read")
    add(box, "book", effect="once", timeout=2)
    add(box, "jot", effect="keyed")
    add(box, "search", effect="read", meanwhile=WORDS)
    add(box, "move", effect="keyed", meanwhile=WORDS, timeout=2)
    add(box, "pay", effect="once", meanwhile=WORDS, timeout=2)
    add(box, "fetch", effect="keyed", meanwhile=WORDS, timeout=12)
    add(box, "order", effect="once", meanwhile=WORDS, dedupe="call")
    add(box, "change", effect="keyed", meanwhile=WORDS, latest_wins=True)
    add(box, "charge", effect="once", meanwhile=WORDS, timeout=2, reconcile=reconcile)
    add(box, "hang_up", effect="once", meanwhile=WORDS, on_interrupt="cancel")
    add(box, "send", effect="keyed", after_call=True)
    add(box, "mail", effect="once", after_call=True)
    return box


def add(box: Toolbox, name: str, **options: Any) -> None:
    """One more tool."""

    def function(call: Call, what: Annotated[str, "What."]) -> str:
        """Do something."""
        outside = current().outside
        current().ask(f"tool {name} acts", lambda: outside.act(call, name, what))
        current().ask(f"tool {name} returns", lambda: outside.returned(call))
        return f"Did {what}."

    function.__name__ = name
    box.tool(**options)(function)


def reconcile(call: Call, _arguments: Mapping[str, Any]) -> str | None:
    """Ask the other side."""
    found: str | None = current().ask("tool reconciles", lambda: current().outside.reconciled(call))
    return found
