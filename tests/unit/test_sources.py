"""Who may ask for what: the operator's file."""

from importlib.resources import files
from pathlib import Path

import pytest

from lifecycle.judgement.signatures import Scheme
from lifecycle.judgement.sources import Sources
from lifecycle.words.capabilities import TABLE, Action, Resource, capability
from lifecycle.words.errors import Code, Rejected
from tests.builders import ORG

SHIPPED = Path(str(files("lifecycle"))).parents[2] / "layers" / "config" / "sources.toml"
ARCHIVE = capability(Resource.RUN, Action.ARCHIVE)
DELETE = capability(Resource.RUN, Action.DELETE)


def declared(lines: str) -> Sources:
    return Sources.parse(f'[sources.one]\nscheme = "hmac"\n{lines}')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sources", "not TOML"),
        ("", "sources: Field required"),
        ("[sources]\n[extra]", "extra: Extra inputs"),
        ("[sources.One]", "sources.One"),
        ("[sources.-x]", "sources.-x"),
        ('[sources.one]\nmay = ["run.archive"]', "scheme: Field required"),
        ('[sources.one]\nscheme = "basic"\nmay = ["run.archive"]', "standard-webhooks"),
        ('[sources.one]\nscheme = "hmac"', "may: Field required"),
        ('[sources.one]\nscheme = "hmac"\nmay = []', "may"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.destroy"]', "run.destroy"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["tag.archive"]', "tag.archive"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.delete"]', "write irreversible = true"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["template.archive"]', "template.archive cannot be taken back"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.archive"]\norganizations = []', "'organizations' is empty"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.archive"]\norganizations = ["x"]', "organizations"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.archive"]\nmaybe = true', "maybe: Extra inputs"),
    ],
)
def test_a_wrong_file_is_refused_with_what_to_write_instead(text: str, said: str) -> None:
    with pytest.raises(Rejected) as refusal:
        Sources.parse(text)
    assert refusal.value.code is Code.CONFIGURATION
    assert said in refusal.value.reason


def test_a_source_may_do_what_is_listed_and_nothing_else() -> None:
    sources = declared('may = ["run.archive"]')
    assert [c.name for c in TABLE if sources.allow("one", c)] == ["run.archive"]


def test_a_stranger_may_do_nothing() -> None:
    assert not any(declared('may = ["run.archive"]').allow("two", c) for c in TABLE)


def test_the_right_to_the_irreversible_does_not_replace_the_list() -> None:
    sources = declared('may = ["run.archive"]\nirreversible = true')
    assert sources.allow("one", ARCHIVE)
    assert not sources.allow("one", DELETE)


def test_name_and_right_together_allow_the_irreversible() -> None:
    assert declared('may = ["run.delete"]\nirreversible = true').allow("one", DELETE)


def test_a_source_without_organizations_reaches_all_of_them() -> None:
    assert declared('may = ["run.archive"]').sources["one"].reaches(ORG)


def test_a_source_reaches_only_the_organizations_it_names() -> None:
    source = declared(f'may = ["run.archive"]\norganizations = ["{ORG}"]').sources["one"]
    assert source.reaches(ORG)
    assert not source.reaches("1" * 32)


def test_the_shipped_file_gives_irreversible_rights_to_the_operator_alone() -> None:
    sources = Sources.parse(SHIPPED.read_text(encoding="utf-8"))
    lasting = {name for name in sources.sources for c in TABLE if c.irreversible and sources.allow(name, c)}
    assert lasting == {"operator"}
    assert sources.sources["crm"].scheme is Scheme.HMAC
