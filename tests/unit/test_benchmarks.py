"""The benchmarks run, and each case is what it says: what they print is for people, and is asserted nowhere."""

import pytest

from tests.benchmarks import front_door


def test_the_front_door_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(front_door, "SIZE", 20_000)
    front_door.main(["--runs", "1", "--requests", "60"])

    printed = capsys.readouterr().out
    assert printed.startswith("memory growth over 60 requests: ")
    for case in front_door.cases():
        assert f"\n{case.name} " in printed


def test_what_is_malformed_is_as_large_as_it_says() -> None:
    bodies = front_door.malformed(front_door.SIZE)

    assert len(bodies) > 20
    assert all(0.9 * front_door.MB <= len(body) <= 1.2 * front_door.MB for body in bodies.values())
