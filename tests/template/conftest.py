import pytest

from tests.template.support import TransformedTemplate, load


@pytest.fixture(scope="session")
def template() -> TransformedTemplate:
    return load(AlarmEmail="someone@example.com")


@pytest.fixture(scope="session", params=["arm64", "x86_64"])
def template_of_each_architecture(request: pytest.FixtureRequest) -> TransformedTemplate:
    return load(Architecture=request.param)
