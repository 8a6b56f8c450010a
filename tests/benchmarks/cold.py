"""What a cold start costs: the built functions, under Lambda's own runtime client, beside a bare handler and others' ways.

    python -m tests.benchmarks.cold [--accept] [--only NAME] [--runs 5]

Counts instructions with valgrind (cachegrind), which other work on the machine does not change; without valgrind only
CPU times. Writes its tables into docs/performance.md, and fails where a figure has grown by more than a tenth over
tests/benchmarks/figures.json; `--accept` commits to the new ones. It takes about ten minutes.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from devkit import facts
from devkit.sam import architecture
from tests.benchmarks.rig import measure, peers, scenes, table
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.table import Results
from tests.benchmarks.rig.world import World

PAGE = facts.ROOT / "docs/performance.md"
FIGURES = facts.ROOT / "tests/benchmarks/figures.json"
NATIVE = {"arm64": "DependenciesArm64Layer", "x86_64": "DependenciesX86Layer"}[architecture()]
LAYERS = (NATIVE, "SwitchboardLayer", "AgentLayer")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, compare, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--accept", action="store_true", help="commit to these figures, whatever they are")
    parser.add_argument("--only", default="", metavar="NAME", help="only what has this in its name; writes nothing")
    parser.add_argument("--runs", type=int, default=5, help="starts whose CPU time is taken (5)")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as world:
        results = measured(Rig(Path(folder), world), Path(folder), world, given.only, given.runs)
    print(table.markdown(results))
    found, committed = table.figures(results), table.read_figures(FIGURES)
    grown = table.worse(found, committed) if results.bare.init else []
    for line in grown:
        print(f"GROWN {line}", file=sys.stderr)
    if given.only or not results.bare.init:
        return bool(grown)
    if given.accept or not grown:
        table.put(PAGE, table.markdown(results))
    if given.accept:
        table.write_figures(FIGURES, found)
    return bool(grown) and not given.accept


def measured(rig: Rig, folder: Path, world: World, only: str, runs: int) -> Results:
    """Everything, one after the other, so that nothing disturbs what is counted in seconds."""
    cold = [rig.cold(measure.BARE, rig.bare, None, runs=runs)]
    for scene in scenes.FIRST:
        if only in scene.function:
            note(scene.function)
            cold.append(rig.cold(scene.function, rig.artefact(scene.function), scene, runs=runs))
    for bytecode, name in ((True, peers.TYPICAL), (False, peers.UNCOMPILED)):
        if only in name:
            note(name)
            artefact = peers.typical(folder, bytecode=bytecode)
            world.trust(artefact.opt)
            cold.append(rig.cold(name, artefact, scenes.STATUS, runs=runs))
    warm = []
    for scene in scenes.WARM:
        if only in scene.name or only in scene.function:
            note(scene.name)
            warm.append(rig.warm(scene))
    note("servers")
    status = itertools.cycle(scenes.first(scenes.STATUS, world, 100))
    servers = [] if only else list(peers.servers(rig.runtime, status, count=bool(cold[0].init), runs=runs))
    return Results(cold, warm, servers, measure.layer_sizes(rig.artefacts, LAYERS))


def note(what: str) -> None:
    """Say what is being measured."""
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
