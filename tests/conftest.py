"""What every test shares: a clock that stands still, and settings that Powertools reads on import."""

import os

import pytest

from tests.builders import NOW, Clock

os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "TallyfyLifecycle")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)
