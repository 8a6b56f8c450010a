"""One call as people read it: seconds from its start, who, what. Values in, text out."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from textwrap import wrap
from typing import NamedTuple

WIDTH = 118


class Moment(NamedTuple):
    """Something that happened, at an epoch time in seconds. `ok` is False where it should have gone otherwise.

    `routine` moments (a message that was only acknowledged, with 200) share a line with their neighbours.
    """

    at: float
    who: str
    what: str
    ok: bool = True
    routine: bool = False


class Promise(NamedTuple):
    """Something that must hold, what was seen instead of it or for it, and whether that is the same."""

    promised: str
    seen: str
    ok: bool


def render(moments: Iterable[Moment], started: float) -> str:
    """Return the timeline, one moment a line, in order of time."""
    ordered = sorted(moments, key=lambda moment: moment.at)
    who_width = max((len(moment.who) for moment in ordered), default=0)
    lines: list[str] = []
    for routine, group in groupby(ordered, key=lambda moment: moment.routine):
        together = list(group)
        for moment in [_together(together)] if routine else together:
            lines += _line(moment, started, who_width)
    return "\n".join(lines)


def _together(moments: Sequence[Moment]) -> Moment:
    return moments[0]._replace(what=" · ".join(moment.what for moment in moments) + " → 200")


def _line(moment: Moment, started: float, who_width: int) -> list[str]:
    mark = " " if moment.ok else "✗"
    head = f"{mark}{moment.at - started:7.2f}  {moment.who:<{who_width}}  "
    # A control character in somebody's words must not move the reader's cursor.
    what = "".join(char if char.isprintable() else " " for char in moment.what)
    return wrap(what, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False) or [
        head.rstrip()
    ]


def table(promises: Sequence[Promise]) -> str:
    """Return promises as a table: promised, seen, ok."""
    rows = [("promised", "seen", "ok"), *((one.promised, one.seen, "yes" if one.ok else "NO") for one in promises)]
    first = min(max(len(row[0]) for row in rows), WIDTH // 2)
    second = min(max(len(row[1]) for row in rows), WIDTH - first - 7)
    lines = []
    for number, row in enumerate(rows):
        left, middle = wrap(row[0], first) or [""], wrap(row[1], second) or [""]
        height = max(len(left), len(middle))
        cells = zip(_padded(left, height), _padded(middle, height), _padded([row[2]], height), strict=True)
        lines += [f"{a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in cells]
        if number == 0:
            lines.append("-" * (first + second + 7))
    return "\n".join(lines)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _padded(lines: Sequence[str], height: int) -> list[str]:
    return [*lines, *[""] * (height - len(lines))]
