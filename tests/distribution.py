"""Which tests share a process when pytest-xdist runs several: those that share what is expensive to make.

Bare `pytest` runs everything in one process, in the order of the files.
"""

from xdist.scheduler import LoadScopeScheduling

# One local stack, and one browser, for all of a folder.
TOGETHER = ("tests/local", "tests/browser")


def group(nodeid: str) -> str:
    """What a test shares a process with: everything in its folder, or in its file."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


class Distribution(LoadScopeScheduling):
    """Hands out whole groups, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
