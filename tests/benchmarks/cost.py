"""What AWS asks for a thousand calls of three minutes, from the counts of one that the built functions really answer.

    python -m tests.benchmarks.cost

It takes about five minutes, because the call is played in real time. Counts requests, bytes, units and processor time;
what no laptop can tell is assumed in `rig/bill.py`, and said on the page that this writes: docs/cost.md.
"""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import NamedTuple

from devkit import facts, script
from devkit.player import Played, Player
from devkit.script import Script
from tests.benchmarks.rig import bill, prices, table
from tests.benchmarks.rig.bill import CALLS, TARGET, Counted, Line, total
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.stack import Stack
from tests.benchmarks.rig.world import World

PAGE = facts.ROOT / "docs/cost.md"
SCRIPT = facts.ROOT / "tests/benchmarks/rig/three_minutes.yaml"
FAST = 20.0  # the pace of the call before, with which everything is loaded and connected
MINUTES = 20  # of the sweeper, for what one of them costs


class Results(NamedTuple):
    """Everything of one run."""

    call: Counted
    kinds: Mapping[str, int]
    """Vapi's messages of the call, by type."""
    sweep: Counted
    starts: Mapping[str, float]
    metrics: Sequence[str]
    alarms: int


def main(argv: Sequence[str] | None = None) -> int:
    """Play, count, price, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--pace", type=float, default=1.0, help="how fast people speak; with another than 1, nothing is written"
    )
    given = parser.parse_args(argv)
    results = measured(given.pace)
    text = markdown(results)
    print(text)
    if given.pace == 1:
        table.put(PAGE, text)
    return 0


def measured(pace: float) -> Results:
    """Play the call twice, the first time fast, and count the second one."""
    called = script.load(SCRIPT)
    with (
        tempfile.TemporaryDirectory() as folder,
        World(Path(folder)) as world,
        Stack(Rig(Path(folder), world, count=False), world) as stack,
    ):
        stack.sweep()
        played(stack, called, FAST)
        with stack.counting() as idle:
            for _ in range(MINUTES):
                stack.sweep()
        with stack.counting() as counting:
            call = played(stack, called, pace)
        stored = stack.stored(f"CALL#{call.call_id}", f"SID#{call.call_sid}")
        return Results(
            counting.counted._replace(stored=stored),
            kinds_of(call),
            one_of(idle.counted, MINUTES),
            stack.starts(),
            metrics_of(counting.counted.lines),
            stack.template.alarm_metrics,
        )


def played(stack: Stack, called: Script, pace: float) -> Played:
    """One call, to the moment in which nothing of it is open any more."""
    with closing(stack.backend()) as backend, closing(stack.doors()) as doors:
        call = Player(called._replace(call=called.call._replace(pace=pace)), backend, doors).play()
    if call.unmet:
        raise SystemExit("\n".join(["the call did not go as it should", *call.unmet]))
    stack.settle()
    # Two minutes later the sweeper looks whether the report of the ended leg has come. It would have run in that minute
    # anyway, so what its invocation costs is counted twice, here and in a month without a call.
    stack.bring_forward(f"SID#{call.call_sid}")
    stack.sweep()
    return call


def kinds_of(call: Played) -> dict[str, int]:
    """Vapi's messages, by type."""
    kinds = [exchange.message["message"]["type"] for exchange in call.exchanges]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def one_of(many: Counted, number: int) -> Counted:
    """What one of several equal things costs."""
    uses = [
        use._replace(invocations=1, cpu=use.cpu / number, lines=use.lines[: len(use.lines) // number])
        for use in many.uses
    ]
    return Counted(
        uses=uses, asked={name: asked / number for name, asked in many.asked.items()}, reads=many.reads / number
    )


def metrics_of(lines: Iterable[str]) -> list[str]:
    """The custom metrics that lines in the embedded metric format write: each name with each set of dimensions' values."""
    found: set[str] = set()
    for line in lines:
        told = json.loads(line) if line.startswith("{") else {}
        for written in told.get("_aws", {}).get("CloudWatchMetrics", []):
            for dimensions in written["Dimensions"]:
                values = ", ".join(f"{name}={told[name]}" for name in sorted(dimensions))
                found |= {f"{metric['Name']} ({values})" for metric in written["Metrics"]}
    return sorted(found)


def markdown(results: Results) -> str:
    """The page's tables."""
    call = results.call
    lines = priced(results)
    slow, cold = total(priced(results, slower=2)), total(priced(results, cold=CALLS))
    spread = total(priced(results, cold=CALLS, hours=bill.HOURS_A_MONTH))
    month = bill.idle(results.sweep, results.alarms)
    met = "met" if total(lines) <= TARGET else "missed"
    said = ", ".join(f"{number} `{kind}`" for kind, number in results.kinds.items())
    today, python = f"{date.today():%d %B %Y}", platform.python_version()  # noqa: DTZ011 - for people
    where = f"{platform.machine()}, Python {python}"
    return "\n".join(
        [
            f"Counted on {today}: {where}; prices of {prices.REGION}, looked up on {prices.PRICED}.",
            "",
            f"One call of {call.seconds:.0f} seconds is {len(call.api)} requests: {said}; the rest is Twilio's.",
            "",
            *counts(results),
            "",
            f"A thousand such calls: **{total(lines):.3f} USD**. The target is less than {TARGET:.2f} USD: {met}.",
            "",
            *rows(lines),
            "",
            "| If | USD |",
            "|---|---:|",
            f"| every billed millisecond were two | {slow:.3f} |",
            f"| every call found every function cold | {cold:.3f} |",
            f"| they came in all hours of a month, each to cold functions | {spread:.3f} |",
            "",
            f"A month without a call: **{total(month):.2f} USD**.",
            "",
            *rows(month),
            "",
            *listed(),
        ]
    )


def priced(results: Results, *, cold: int = bill.COLD, slower: float = 1, hours: float = bill.HOURS) -> list[Line]:
    """The bill of a thousand calls; the sweeper's gauge is paid for without any."""
    metrics = len(called_for(results))
    return bill.of_calls(results.call, results.starts, metrics, cold=cold, slower=slower, hours=hours)


def called_for(results: Results) -> list[str]:
    """The metrics that are there because somebody calls."""
    standing = metrics_of(results.sweep.lines)
    return [metric for metric in results.metrics if metric not in standing]


def counts(results: Results) -> list[str]:
    """What was counted, function by function, and of the table."""
    call = results.call
    made = [
        "| Function | MB | invocations | CPU ms each | start, CPU ms | log bytes each |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for use in call.uses:
        logged = bill.log_bytes(use.lines) / use.invocations
        made.append(
            f"| {use.function} | {use.memory} | {use.invocations} | {1000 * use.cpu / use.invocations:.1f} "
            f"| {1000 * results.starts[use.function]:.0f} | {logged:.0f} |"
        )
    largest = max(max(each) for each in call.api) / 1000
    units = f"{call.writes:g} write units and {call.reads:g} read units"
    said = ", ".join(f"{number:g} `{name}`" for name, number in sorted(call.asked.items()))
    return [
        *made,
        "",
        f"They ask for: {said}. That is {units}; {call.stored / 1000:.1f} KB stay in the table for a day.",
        f"The largest request or answer has {largest:.0f} KB, so that each counts once.",
    ]


def rows(lines: Sequence[Line]) -> list[str]:
    """A bill."""
    made = ["| | quantity | price, USD | USD |", "|---|---:|---:|---:|"]
    for line in lines:
        price = line.price
        per = "" if price.per == 1 else f"{price.per:,.0f} "
        made.append(
            f"| {line.what} | {amount(line.quantity)} | {money(price.usd)} for {per}{price.unit} | {line.usd:.4f} |"
        )
    return [*made, f"| together | | | {total(lines):.4f} |"]


def money(usd: float) -> str:
    """US dollars, with all their digits."""
    return f"{usd:.10f}".rstrip("0").rstrip(".")


def amount(quantity: float) -> str:
    """A quantity, with as many digits as say something."""
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity:.3g}"


def listed() -> list[str]:
    """The prices and where they stand."""
    return [
        "| Price | USD | for | source |",
        "|---|---:|---|---|",
        *(
            f"| {price.name} | {money(price.usd)} | {price.per:,.0f} {price.unit} | <{price.source}> |"
            for price in prices.ALL
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
