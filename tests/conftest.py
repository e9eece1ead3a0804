"""What every test shares: a clock that stands still, and settings that Powertools reads on import."""

import os
from functools import cache

import botocore.session
import pytest
from hypothesis import settings

from tests.harness.builders import NOW, Clock

os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "TallyfyLifecycle")

# No test asserts how long anything took: machines differ, and are busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Each test has sessions of its own. All read the SDK's data files, which never change, through one loader.
botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares an expensive fixture: each process would make its own."""
    for item in items:
        for folder in ("e2e", "template"):
            if f"tests/{folder}/" in item.nodeid:
                item.add_marker(pytest.mark.xdist_group(folder))
