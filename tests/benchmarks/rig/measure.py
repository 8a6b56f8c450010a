"""What is measured: a start with its first event, in the same run as a bare handler, and one more event of a warm function."""

import shutil
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.rig import scenes
from tests.benchmarks.rig.artefacts import Artefact, Artefacts, compiled
from tests.benchmarks.rig.front import CONNECTION
from tests.benchmarks.rig.runtime import Runtime
from tests.benchmarks.rig.scenes import Scene
from tests.benchmarks.rig.world import World

BARE = "a bare handler"
BARE_CODE = "def handler(event, context):\n    return {}\n"
FEW, MANY = 5, 25  # events of the two runs whose difference is that of the warm ones


class Cold(NamedTuple):
    """A start. Instructions and seconds of CPU up to the first request for an event, and up to the second."""

    name: str
    init: int
    first: int
    cpu: float
    modules: int
    opened: int
    sources: int
    compiled: int
    memory: int
    zipped: int
    unpacked: int


class Warm(NamedTuple):
    """One more event: instructions, and requests and new connections by name."""

    name: str
    instructions: int
    requests: Mapping[str, float]

    def total(self, *prefixes: str) -> float:
        """Requests whose names begin so."""
        return sum(number for name, number in self.requests.items() if name.startswith(prefixes))

    @property
    def connections(self) -> float:
        """New TLS connections."""
        return self.requests.get(CONNECTION, 0.0)


class Rig:
    """The functions, ready to be started. Everything is below `folder`."""

    def __init__(self, folder: Path, world: World, *, count: bool = bool(shutil.which("valgrind"))) -> None:
        self._folder = folder
        self._world = world
        self._count = count
        self.runtime = Runtime(folder)
        self.artefacts = Artefacts(folder)
        self.bare = self._make_bare()

    def artefact(self, name: str) -> Artefact:
        """A function of the template, which trusts the world's certificates."""
        found = self.artefacts.unpack(name)
        self._world.trust(found.opt)
        return found

    def cold(self, name: str, artefact: Artefact, scene: Scene | None, *, runs: int) -> Cold:
        """A start and its first event."""
        loaded = self.runtime.look(artefact, self._world.env)
        plain = [self._play(artefact, scene, 1) for _ in range(runs)]
        sources, usable = compiled(artefact.code, artefact.opt)
        return Cold(
            name=name,
            init=self._play(artefact, scene, 0, count=True).instructions,
            first=self._play(artefact, scene, 1, count=True).instructions,
            cpu=statistics.median(played.total for played in plain),
            modules=len(loaded.modules),
            opened=loaded.opened,
            sources=sources,
            compiled=usable,
            memory=max(played.memory for played in plain),
            zipped=artefact.zipped,
            unpacked=artefact.unpacked,
        )

    def warm(self, scene: Scene) -> Warm:
        """One more event, as the difference of two runs."""
        artefact = self.artefact(scene.function)
        few = self._play(artefact, scene, FEW, count=True).instructions
        requests = [self.requests(artefact, scene, number) for number in (FEW, MANY)]
        many = self._play(artefact, scene, MANY, count=True).instructions
        names = sorted({name for counted in requests for name in counted})
        spread = MANY - FEW
        each = {name: (requests[1][name] - requests[0][name]) / spread for name in names}
        return Warm(scene.name, (many - few) // spread, {name: number for name, number in each.items() if number})

    def requests(self, artefact: Artefact, scene: Scene, number: int) -> Counter[str]:
        """What a start and so many events ask of the world."""
        self.prepare(scene, number)
        self._world.take()
        self.runtime.play(artefact, scenes.first(scene, self._world, number), self._world.env, count=False)
        return self._world.take()

    def _play(self, artefact: Artefact, scene: Scene | None, number: int, *, count: bool = False) -> Any:
        events: Any = [{}] * number
        if scene:
            self.prepare(scene, number)
            events = scenes.first(scene, self._world, number)
        return self.runtime.play(artefact, events, self._world.env, count=count and self._count)

    def prepare(self, scene: Scene, number: int) -> None:
        """What has to be there before a scene begins: an appointment, and accepted calls for a worker to work on."""
        if scene in (scenes.LOOK_UP, scenes.RECORD):
            self._ask(scenes.LOOK_UP, 1)
        if scene is scenes.RECORD:
            self._world.empty_queue()
            self._ask(scenes.ACCEPT, number)

    def _ask(self, scene: Scene, number: int) -> None:
        events = scenes.first(scene, self._world, number)
        self.runtime.play(self.artefact(scene.function), events, self._world.env, count=False)

    def _make_bare(self) -> Artefact:
        code, opt = self._folder / "task-bare", self._folder / "opt-bare"
        for folder in (code, opt):
            folder.mkdir()
        (code / "app.py").write_text(BARE_CODE)
        return Artefact(BARE, "app.handler", 3, 128, {}, code, opt, 0, 0)


def ratio(value: float, bare: float) -> float:
    """How many times the bare handler."""
    return value / bare if bare else 0.0


def layer_sizes(artefacts: Artefacts, layers: Sequence[str]) -> dict[str, int]:
    """Bytes of the layers' archives."""
    return {path.name: made.stat().st_size for path, made in artefacts.zips.items() if path.name in layers}
