"""How the tests are shared out between processes."""

import pytest

from tests import distribution
from tests.markdown import ROOT


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/local/test_calls.py::test_a[x]", "tests/local"),
        ("tests/local/test_stack.py::test_b", "tests/local"),
        ("tests/browser/test_talk.py::test_c", "tests/browser"),
        ("tests/unit/test_door.py::test_d[http://[::1]:80]", "tests/unit/test_door.py"),
        ("tests/unit/test_local_twilio.py::test_e", "tests/unit/test_local_twilio.py"),
    ],
)
def test_what_is_expensive_is_made_in_one_process_only(nodeid: str, group: str) -> None:
    assert distribution.group(nodeid) == group


def test_what_takes_longest_is_begun_first_and_the_rest_stays_in_order() -> None:
    others = [f"tests/unit/test_{name}.py::test_it" for name in "zab"]
    found = sorted(
        [*others, "tests/fuzz/test_fuzz.py::test_it", "tests/local/test_stack.py::test_it"], key=distribution.place
    )

    assert found == ["tests/local/test_stack.py::test_it", "tests/fuzz/test_fuzz.py::test_it", *others]


def test_what_is_put_first_is_there() -> None:
    assert all((ROOT / name).exists() for name in (*distribution.FOLDERS, *distribution.LONGEST))
    # What a folder shares is known where its fixtures are.
    assert all((ROOT / name / "conftest.py").exists() for name in distribution.FOLDERS)


@pytest.mark.parametrize(("cores", "processes"), [(None, 2), (1, 2), (2, 3), (3, 4), (64, 4)])
def test_there_is_a_process_more_than_cores_and_no_crowd(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, processes: int
) -> None:
    monkeypatch.setattr("os.process_cpu_count", lambda: cores)

    assert distribution.processes() == processes
