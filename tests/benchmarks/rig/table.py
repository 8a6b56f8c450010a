"""The figures as Markdown, and compared with those that are committed."""

import json
import platform
import ssl
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.rig.measure import Cold, Warm, ratio
from tests.benchmarks.rig.peers import Server

BEGIN, END = "<!-- written by `make bench` -->\n", "<!-- end of what `make bench` writes -->\n"
SLACK = 1.10  # by which a figure may exceed the committed one
MILLION = MB = 1e6

STARTS = (
    "Start",
    "init, M instr.",
    "x bare",
    "with first event",
    "x bare",
    "CPU, x bare",
    "modules",
    "files",
    "compiled",
    "RSS MB",
    "zip MB",
    "unpacked MB",
)


class Results(NamedTuple):
    """Everything of one run; the bare handler is the first of `cold`."""

    cold: Sequence[Cold]
    warm: Sequence[Warm]
    servers: Sequence[Server]
    layers: Mapping[str, int]
    """Bytes of the zip of each layer that is deployed together."""

    @property
    def bare(self) -> Cold:
        """What every ratio is a ratio to."""
        return self.cold[0]


def figures(results: Results) -> dict[str, float]:
    """What is compared: ratios of starts, and millions of instructions of warm events."""
    bare = results.bare
    starts = {f"{cold.name}, init": round(ratio(cold.init, bare.init), 3) for cold in results.cold[1:]}
    first = {f"{cold.name}, first event": round(ratio(cold.first, bare.first), 3) for cold in results.cold[1:]}
    return starts | first | {f"{warm.name}, warm": round(warm.instructions / MILLION, 3) for warm in results.warm}


def worse(found: Mapping[str, float], committed: Mapping[str, float]) -> list[str]:
    """One line for each figure that has grown by more than a tenth."""
    return [
        f"{name}: {value:.2f}, committed {committed[name]:.2f}"
        for name, value in found.items()
        if name in committed and value > committed[name] * SLACK
    ]


def read_figures(path: Path) -> dict[str, float]:
    """The committed figures; none where there is no file yet."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write_figures(path: Path, found: Mapping[str, float]) -> None:
    """Commit to these."""
    path.write_text(json.dumps(found, indent=2) + "\n")


def put(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])


def markdown(results: Results) -> str:
    """The tables."""
    return "\n".join([_about(results), "", _starts(results), "", _events(results), "", _sizes(results)])


def _about(results: Results) -> str:
    counted = "instructions by cachegrind" if results.bare.init else "no valgrind here, so no instructions"
    versions = f"Python {platform.python_version()}, {' '.join(ssl.OPENSSL_VERSION.split()[:2])}"
    return f"Measured on {date.today():%d %B %Y}: {platform.machine()}, {versions}, {counted}."  # noqa: DTZ011 - for people


def _starts(results: Results) -> str:
    bare = results.bare
    rows = ["| " + " | ".join(STARTS) + " |", "|---|" + "---:|" * (len(STARTS) - 1)]
    for cold in results.cold:
        rows.append(
            f"| {cold.name} | {_m(cold.init)} | {_x(cold.init, bare.init)} | {_m(cold.first)} | {_x(cold.first, bare.first)} "
            f"| {_x(cold.cpu, bare.cpu)} | {cold.modules or '-'} | {cold.opened or '-'} "
            f"| {cold.compiled} of {cold.sources} | {cold.memory / MB:.0f} "
            f"| {cold.zipped / MB:.1f} | {cold.unpacked / MB:.1f} |"
        )
    for server in results.servers:
        rows.append(
            f"| {server.name}, to its first answer | - | - | {_m(server.first)} | {_x(server.first, bare.first)} "
            f"| {_x(server.cpu, bare.cpu)} | - | - | - | {server.memory / MB:.0f} | - | - |"
        )
    return "\n".join(rows)


def _events(results: Results) -> str:
    rows = ["| One more event | M instr. | DynamoDB | SQS | HTTP | new connections |", "|---|" + "---:|" * 5]
    for each in results.warm:
        counts = (each.total("DynamoDB."), each.total("AmazonSQS."), each.total("POST ", "GET "), each.connections)
        rows.append(f"| {each.name} | {_m(each.instructions)} | " + " | ".join(f"{count:g}" for count in counts) + " |")
    rows += [f"| {server.name}, status, 2 KB | {_m(server.warm)} | - | - | - | - |" for server in results.servers]
    return "\n".join(rows)


def _sizes(results: Results) -> str:
    rows = [
        "| Layer | zip MB |",
        "|---|---:|",
        *(f"| {name} | {size / MB:.2f} |" for name, size in results.layers.items()),
    ]
    return "\n".join([*rows, f"| together | {sum(results.layers.values()) / MB:.2f} |"])


def _m(instructions: int) -> str:
    return f"{instructions / MILLION:,.1f}" if instructions else "-"


def _x(value: float, bare: float) -> str:
    return f"{ratio(value, bare):.2f}" if value and bare else "-"
