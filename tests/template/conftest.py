import pytest

from tests.template.support import Template, load


@pytest.fixture(scope="session")
def template() -> Template:
    return load(AlarmEmail="someone@example.com")


@pytest.fixture(scope="session", params=["arm64", "x86_64"])
def template_of_each_architecture(request: pytest.FixtureRequest) -> Template:
    return load(Architecture=request.param)
