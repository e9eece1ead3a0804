"""The files of ``layers/config`` in this checkout: sources.toml, people.toml, policy.toml and notices.toml."""

from pathlib import Path
from typing import TYPE_CHECKING

from cli.ui.errors import CliError, Exit

if TYPE_CHECKING:
    from lifecycle.approvals.people import People
    from lifecycle.intake.sources import Source, Sources
    from lifecycle.notices.file import Notices
    from lifecycle.policy.policy import Policy

_CONFIG = Path(__file__).resolve().parents[2] / "layers" / "config"
SOURCES_FILE = _CONFIG / "sources.toml"
PEOPLE_FILE = _CONFIG / "people.toml"
POLICY_FILE = _CONFIG / "policy.toml"
NOTICES_FILE = _CONFIG / "notices.toml"


def declared_sources(path: Path | None = None) -> "Sources":
    """The declared sources.

    Raises:
        CliError: The file cannot be read.
        Rejected: The file is wrong.
    """
    from lifecycle.intake.sources import Sources

    return Sources.parse(_text_of(path or SOURCES_FILE), name=str(path or SOURCES_FILE))


def declared_people(path: Path | None = None) -> "People":
    """Who may do what from a chat tool, and who may approve what. Raises what ``declared_sources`` raises."""
    from lifecycle.approvals.people import People

    return People.parse(_text_of(path or PEOPLE_FILE), name=str(path or PEOPLE_FILE))


def declared_policy(path: Path | None = None) -> "Policy":
    """What a sweep does. Raises what ``declared_sources`` raises."""
    from lifecycle.policy.policy import Policy

    return Policy.parse(_text_of(path or POLICY_FILE), name=str(path or POLICY_FILE))


def declared_notices(path: Path | None = None) -> "Notices":
    """Which channels hear what. Raises what ``declared_sources`` raises."""
    from lifecycle.notices.file import Notices

    return Notices.parse(_text_of(path or NOTICES_FILE), name=str(path or NOTICES_FILE))


def source_named(sources: "Sources", name: str) -> "Source":
    """One source.

    Raises:
        CliError: There is no source of this name.
    """
    if name not in sources.sources:
        known = ", ".join(sorted(sources.sources))
        raise CliError(f"Source '{name}' is not in sources.toml. Declared: {known}.", Exit.USAGE)
    return sources.sources[name]


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}") from error
