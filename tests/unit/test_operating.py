"""docs/operating.md: it knows every metric, every alarm and every reason that there is, and none that there is not."""

import re

import yaml

from switchboard.telemetry import Count
from tests.markdown import ROOT
from tests.unit.test_readme import Loader

PAGE = (ROOT / "docs/operating.md").read_text()


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.split(f"## {title}")[1].split("\n## ")[0]


def first_cells(title: str) -> set[str]:
    """What stands in the first column of a section's table."""
    rows = [line.split("|")[1] for line in section(title).splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_metric_is_explained() -> None:
    assert first_cells("What the metrics mean") == {count.value for count in Count}


def test_every_alarm_has_a_first_move() -> None:
    resources = yaml.load((ROOT / "template.yaml").read_text(), Loader)["Resources"]  # noqa: S506 - a safe loader
    alarms = [name for name, one in resources.items() if one["Type"] == "AWS::CloudWatch::Alarm"]
    text = (ROOT / "template.yaml").read_text()
    names = re.findall(r"AlarmName: !Sub \$\{AWS::StackName\}(\S+)", text)

    assert len(names) == len(alarms)
    assert first_cells("Alarms and first moves") == set(names)


def test_the_reasons_of_the_page_are_those_of_the_code() -> None:
    code = (ROOT / "layers/switchboard/switchboard/delivery.py").read_text()

    for outcome in first_cells("What a call went through"):
        _, _, reason = outcome.partition(", ")
        assert reason in ("", "…") or f'"{reason}"' in code, outcome


def test_every_reason_for_reconciling_is_explained() -> None:
    package = ROOT / "layers/switchboard/switchboard"
    code = "".join(path.read_text() for path in package.glob("*.py"))
    counted = " ".join(re.findall(r"count\(Count\.RECONCILED, (.+)\)", code))

    assert first_cells("What was reconciled") == set(re.findall(r'"(\w+)"', counted))
