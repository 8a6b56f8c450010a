"""The limit in seconds for code that we do not own."""

import signal
import threading
import time
from contextlib import suppress

import pytest

from switchboard.budget import Overrun, limit


def spin() -> None:
    """Work without end, as a stuck tool does."""
    while True:
        sum(range(100))


def timer() -> tuple[float, float]:
    return signal.getitimer(signal.ITIMER_REAL)


def test_what_ends_in_time_is_left_alone() -> None:
    with limit(60):
        result = 1

    assert result == 1
    assert timer() == (0, 0)


@pytest.mark.parametrize("seconds", [0.5, 60])
def test_the_first_shot_comes_when_the_time_is_over_and_the_next_ones_soon_after(seconds: float) -> None:
    with limit(seconds):
        first, interval = timer()

    assert seconds - 0.4 < first <= seconds
    assert interval == pytest.approx(0.2)


def test_work_without_end_is_stopped() -> None:
    with pytest.raises(Overrun), limit(0.01):
        spin()

    assert timer() == (0, 0)


def test_waiting_without_end_is_stopped() -> None:
    with pytest.raises(Overrun), limit(0.01):
        threading.Event().wait(60)


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
def test_a_limit_that_is_over_already_stops_at_once(seconds: float) -> None:
    with pytest.raises(Overrun), limit(seconds):
        spin()


def test_a_tool_that_catches_every_exception_does_not_catch_the_end_of_its_time() -> None:
    def stubborn() -> None:
        while True:
            with suppress(Exception):
                spin()

    with pytest.raises(Overrun), limit(0.01):
        stubborn()


def test_a_tool_that_swallows_even_that_is_stopped_by_the_next_shot() -> None:
    def swallows_one_shot() -> None:
        with suppress(Overrun):
            spin()
        spin()

    with pytest.raises(Overrun), limit(0.01):
        swallows_one_shot()


def test_an_error_of_the_code_itself_passes_through_and_leaves_no_timer() -> None:
    with pytest.raises(KeyError, match="own"), limit(60):
        raise KeyError("own")

    assert timer() == (0, 0)


def test_the_handler_that_was_there_before_is_back_afterwards() -> None:
    def mine(_signal: int, _frame: object) -> None: ...

    before = signal.signal(signal.SIGALRM, mine)
    try:
        with limit(60):
            assert signal.getsignal(signal.SIGALRM) is not mine
        assert signal.getsignal(signal.SIGALRM) is mine
        with suppress(Overrun), limit(0.01):
            spin()
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, before)


def test_one_limit_after_another_is_a_new_one() -> None:
    for _ in range(3):
        with pytest.raises(Overrun), limit(0.005):
            spin()

    with limit(60):
        time.sleep(0)


def test_a_shot_that_comes_when_the_code_has_ended_stops_nothing() -> None:
    handlers = []

    with limit(60):
        handlers.append(signal.getsignal(signal.SIGALRM))
    (handler,) = handlers

    assert callable(handler)
    handler(signal.SIGALRM, None)


def test_an_inner_limit_ends_with_the_outer_one_and_the_outer_goes_on_after_the_inner() -> None:
    order: list[str] = []

    def nested() -> None:
        with limit(5):
            order.append("short")
        try:
            with limit(5):
                time.sleep(2)
        except Overrun:
            order.append("inner")
        time.sleep(2)
        order.append("never")

    with pytest.raises(Overrun), limit(0.1):
        nested()

    assert order == ["short", "inner"]
