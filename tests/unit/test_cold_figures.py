"""The figures of a run: how they are compared with the committed ones, and how a page shows them."""

from pathlib import Path

import pytest

from devkit import facts
from tests.benchmarks import cold
from tests.benchmarks.rig import table
from tests.benchmarks.rig.measure import BARE, Cold, Warm
from tests.benchmarks.rig.peers import Server
from tests.benchmarks.rig.table import Results


def start(name: str, instructions: int) -> Cold:
    return Cold(name, instructions, instructions * 2, 0.5, 300, 200, 10, 9, 40_000_000, 8_000_000, 24_000_000)


RESULTS = Results(
    cold=[start(BARE, 100_000_000), start("WebhookFunction", 700_000_000)],
    warm=[Warm("status", 2_500_000, {"DynamoDB.UpdateItem": 1.0, "AmazonSQS.SendMessage": 0.5, "connection": 0.0})],
    servers=[Server("Express", 250_000_000, 2_000_000, 0.4, 60_000_000)],
    layers={"SwitchboardLayer": 380_000, "AgentLayer": 20_000},
)


def test_starts_are_compared_by_their_ratio_to_the_bare_handler_and_warm_events_by_their_instructions() -> None:
    assert table.figures(RESULTS) == {
        "WebhookFunction, init": 7.0,
        "WebhookFunction, first event": 7.0,
        "status, warm": 2.5,
    }


@pytest.mark.parametrize(("found", "lines"), [(1.1, 0), (1.11, 1), (0.5, 0)])
def test_a_figure_may_grow_by_a_tenth(found: float, lines: int) -> None:
    assert len(table.worse({"a": found, "new": 9.0}, {"a": 1.0, "gone": 1.0})) == lines


def test_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert table.read_figures(file) == {}

    table.write_figures(file, {"a": 1.5})
    assert table.read_figures(file) == {"a": 1.5}


def test_the_page_shows_what_was_counted() -> None:
    text = table.markdown(RESULTS)

    assert "| WebhookFunction | 700.0 | 7.00 | 1,400.0 | 7.00 | 1.00 | 300 | 200 | 9 of 10 | 40 | 8.0 | 24.0 |" in text
    assert "| Express, to its first answer | - | - | 250.0 | 1.25 | 0.80 | - | - | - | 60 | - | - |" in text
    assert "| status | 2.5 | 1 | 0.5 | 0 | 0 |" in text
    assert "| together | 0.40 |" in text


def test_what_was_not_counted_is_no_figure() -> None:
    uncounted = RESULTS._replace(cold=[entry._replace(init=0, first=0) for entry in RESULTS.cold])

    text = table.markdown(uncounted)

    assert "no valgrind here" in text
    assert "| WebhookFunction | - | - | - | - | 1.00 |" in text


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}after\n")

    table.put(page, "new")
    table.put(page, "newer")

    assert page.read_text() == f"before\n{table.BEGIN}\nnewer\n{table.END}after\n"


def test_the_committed_page_and_figures_have_a_place_for_every_function() -> None:
    page, figures = cold.PAGE.read_text(), table.read_figures(cold.FIGURES)

    assert page.count(table.BEGIN) == page.count(table.END) == 1
    assert "VapiWebhookFunction, init" in figures
    assert str(facts.ROOT) not in page
