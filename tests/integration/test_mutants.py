"""No guard can be taken away unnoticed: every named mutant of tests/mutants is caught by its own tests."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.mutants.mutants import MUTANTS, Mutant, Stale, mutated, processes, verdict

AT_ONCE = 2  # processes
DAILY = 12  # guards at least that every run of the tests takes away

HARMLESS = MUTANTS[0]._replace(name="harmless", new=MUTANTS[0].old)
CASES = [pytest.param(mutant, id=mutant.name, marks=() if mutant.daily else pytest.mark.nightly) for mutant in MUTANTS]


type Verdict = Future[tuple[bool, str]]


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Verdict]]:
    """What becomes of every mutant that this run asks for, and of one that is none."""
    asked = [HARMLESS]
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.originalname == test_the_mutant_is_caught.__name__:
            asked.append(item.callspec.params["mutant"])  # type: ignore[arg-type]  # what the list of cases holds
    with processes(AT_ONCE) as pool:
        yield {mutant.name: pool.submit(verdict, mutant, tmp_path_factory.mktemp("mutant")) for mutant in asked}


@pytest.mark.parametrize("mutant", CASES)
def test_the_mutant_is_caught(mutant: Mutant, verdicts: dict[str, Verdict]) -> None:
    caught, said = verdicts[mutant.name].result()

    assert caught, said


def test_every_mutant_takes_out_something_that_is_there(tmp_path: Path) -> None:
    for number, mutant in enumerate(MUTANTS):
        mutated(mutant, tmp_path / str(number))

    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert sum(mutant.daily for mutant in MUTANTS) >= DAILY


def test_a_mutant_that_the_code_has_left_behind_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Stale):
        mutated(MUTANTS[0]._replace(old="what was never there"), tmp_path)


def test_a_mutant_that_changes_nothing_survives(verdicts: dict[str, Verdict]) -> None:
    caught, said = verdicts[HARMLESS.name].result()

    assert not caught, said
    assert "1 passed" in said
