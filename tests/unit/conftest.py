"""Unit tests touch nothing outside this process."""

import pytest
from hypothesis import settings

# The same examples on every run and no deadline: a busy machine must not fail a test, and a failure must repeat.
settings.register_profile("unit", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def no_sockets(socket_disabled: None) -> None:
    """Whoever opens a socket fails."""
