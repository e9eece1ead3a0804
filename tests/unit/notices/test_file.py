"""notices.toml: what may stand there, and what a mistake is answered with."""

import pytest

from lifecycle.domain.errors import Rejected
from lifecycle.notices.file import NoticeKind, Notices

TEXT = """
[channels.operations]
tool = "slack"
[tell]
plan = ["operations"]
"""


def test_each_kind_has_its_channels() -> None:
    notices = Notices.parse(TEXT)
    assert notices.channels_for(NoticeKind.PLAN) == ("operations",)
    assert notices.channels_for(NoticeKind.WARNING) == ()


def test_an_empty_file_tells_nobody_anything() -> None:
    assert all(Notices.parse("").channels_for(kind) == () for kind in NoticeKind)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[channels.ops]\ntool = "slak"', "a tool is one of .* Did you mean slack"),
        ('[channels.Ops]\ntool = "slack"', "48 characters of a-z"),
        ('[tell]\nplan = ["operation"]', "which is not in channels"),
        (TEXT.replace('plan = ["operations"]', 'plan = ["operation"]'), "Did you mean operations"),
        (TEXT.replace("plan =", "plans ="), "Did you mean plan"),
        (TEXT.replace("[tell]", "[tells]"), "unknown key"),
    ],
)
def test_a_mistake_is_named_with_what_to_write_instead(text: str, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        Notices.parse(text)
