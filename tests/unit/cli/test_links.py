import pytest

from cli.ui.errors import CliError, Exit
from cli.ui.ids import id_in

ORG, RUN, TASK = "0a" * 16, "1b" * 16, "2c" * 16


@pytest.mark.parametrize(
    "text",
    [
        RUN,
        f"  {RUN}\n",
        f"https://go.tallyfy.com/{ORG}/process/{RUN}",
        f"https://go.tallyfy.com/{ORG}/process/{RUN}/tasks?view=list",
        f"https://go.tallyfy.com/process/{RUN}/",
        f"https://go.tallyfy.com/#/organizations/{ORG}/runs/{RUN}",
        f"https://acme.example/{RUN}/again/{RUN}",
    ],
)
def test_the_only_id_in_a_link_is_found(text: str) -> None:
    assert id_in(text, org_id=ORG) == RUN


@pytest.mark.parametrize(
    "text",
    [
        f"https://go.tallyfy.com/{ORG}/process/{RUN}/task/{TASK}",
        f"https://go.tallyfy.com/{ORG}/process/{RUN}?task={TASK}",
        f"https://go.tallyfy.com/{TASK}/process/{RUN}",
        f"https://go.tallyfy.com/{ORG}/dashboard",
        f"https://go.tallyfy.com/{ORG}/process/{RUN.upper()}",
        f"https://go.tallyfy.com/process/{RUN}ff",
        f"https://go.tallyfy.com/process?id={RUN}",
    ],
)
def test_an_ambiguous_link_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="Give the id itself") as refused:
        id_in(text, org_id=ORG)
    assert refused.value.code is Exit.USAGE


@pytest.mark.parametrize("text", ["", "..", "../runs/x", f"{RUN}/delete", RUN.upper(), RUN[:-1], RUN + "0", "\x1b[2J"])
def test_text_that_is_neither_id_nor_link_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="not a Tallyfy id") as refused:
        id_in(text, org_id=ORG)
    assert "\x1b" not in str(refused.value)
