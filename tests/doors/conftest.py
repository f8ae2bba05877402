"""The doors are tested without a worker: only the request itself may act."""

import pytest


@pytest.fixture
def works() -> bool:
    """No worker here."""
    return False
