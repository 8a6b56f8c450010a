"""Telling a command that takes several steps: a line for each, with the seconds since it began, and who answers questions."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from devkit import target
from devkit.errors import UserError


class Steps:
    """What has been done so far. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()

    def tell(self, line: str) -> None:
        """Say one thing that was done."""
        sys.stdout.write(f"{self._clock() - self._began:6.1f} s  {line}\n")
        sys.stdout.flush()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step: what it fails with, AWS's refusals included, is told under its name."""
        try:
            with target.explained():
                yield
        except UserError as error:
            raise UserError(f"{name}: {error}") from error.__cause__


def somebody_there() -> bool:
    """Whether a person can answer."""
    return sys.stdin.isatty()


def agreed(question: str, *, yes: bool) -> bool:
    """Ask, unless it was agreed to beforehand; only `y` and `yes` agree."""
    if yes:
        return True
    return answer(f"{question} [y/N] ").lower() in ("y", "yes")


def answer(question: str) -> str:
    """What a person says; `UserError` where nobody is there."""
    if not somebody_there():
        raise UserError("there is nobody here to ask: answer yes to everything with --yes")
    try:
        return input(question).strip()
    except EOFError:
        return ""
