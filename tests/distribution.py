"""Which tests share a process where pytest-xdist runs several: those that share what is expensive to make.

Bare `pytest` runs everything in one process, file by file.
"""

import os

from xdist.scheduler import LoadScopeScheduling

# Here all files share one local stack, or one browser.
FOLDERS = ("tests/local", "tests/browser")
# What takes a minute or more goes first, so that no process is left alone with it.
LONGEST = (
    "tests/local",
    "tests/browser",
    "tests/fuzz/test_fuzz.py",
    "tests/integration/test_fault_matrix.py",
    "tests/contract/test_connect_failures.py",
)
MOST = 4  # processes; more would wait for the local stack's alone


def group(nodeid: str) -> str:
    """What a test shares its process with: the others of its file, or of its folder."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in FOLDERS if file.startswith(f"{folder}/")), file)


def place(nodeid: str) -> int:
    """Where in the queue a test's group is; those with the same place stay in order."""
    name = group(nodeid)
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def processes() -> int:
    """How many are meant by `pytest -n auto`: one more than there are cores, because the local stack's mostly waits."""
    return min((os.process_cpu_count() or 1) + 1, MOST)


class Distribution(LoadScopeScheduling):
    """Hands out whole groups, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
