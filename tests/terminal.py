"""A person at a terminal: runs a program there and types an answer whenever it asks."""

import os
import re
import select
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ASKS = re.compile(r"(\]:?|\]?:) $")  # "Stack Name [x]: ", "Go on? [y/N] ", "token (hidden): "
PATIENCE = 180  # seconds of silence after which the program is taken to hang


class Session(NamedTuple):
    """How it went: the exit code, all that was on the screen, and the questions that were answered."""

    code: int
    screen: str
    asked: list[str]


def converse(
    command: Sequence[str | Path], answers: Mapping[str, str], *, cwd: Path, env: Mapping[str, str]
) -> Session:
    """Run `command`. A question that a key of `answers` is found in is answered with its value, others with Enter."""
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=cwd, env=dict(env), start_new_session=True
    )
    os.close(terminal)
    screen, line, asked = "", "", []
    # Reading fails when the last process at the terminal has gone.
    with suppress(OSError):
        while _speaks(controller, process) and (read := os.read(controller, 4096)):
            text = _COLOUR.sub("", read.decode(errors="replace"))
            screen += text
            line = (line + text).rpartition("\n")[2]
            if _ASKS.search(line) and (reply := _reply(line, answers)) is not None:
                asked.append(line.strip())
                os.write(controller, f"{reply}\n".encode())
                line = ""
    os.close(controller)
    return Session(process.wait(), screen.replace("\r\n", "\n"), asked)


def _speaks(controller: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait for more; a program that has fallen silent is ended."""
    if not select.select([controller], [], [], PATIENCE)[0]:
        process.kill()
        return False
    return True


def _reply(line: str, answers: Mapping[str, str]) -> str | None:
    """The answer to a question; None for a line that asks nothing."""
    for question, reply in answers.items():
        if question in line:
            return reply
    return "" if "[" in line else None
