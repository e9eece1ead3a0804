"""The operator's files: TOML, checked as a whole, with errors that name the line, the key and what is allowed there."""

import tomllib
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from lifecycle.domain.errors import Code, Rejected


class OperatorsFile(BaseModel):
    """One file of ``layers/config``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file_name: ClassVar[str]
    pattern_texts: ClassVar[Mapping[str, str]] = {}
    """Each regular expression of the file, with the text that explains it."""

    @classmethod
    def parse(cls, text: str, *, name: str | None = None) -> Self:
        """Read the TOML. ``name`` is the file as the user wrote it; by default, its name in ``layers/config``.

        Raises ``Rejected`` with each problem's line and key, and what to write instead.
        """
        called = name or cls.file_name
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise Rejected(Code.CONFIGURATION, f"{called} is not TOML: {error}") from None
        except ValidationError as error:
            # Imported here: it is needed only if the file is wrong, and the import costs time at start.
            from lifecycle.domain.config_problems import explain  # noqa: PLC0415 - see above

            raise Rejected(Code.CONFIGURATION, f"{called}, {explain(error, cls, text, cls.pattern_texts)}") from None
        except Rejected as error:
            raise Rejected(Code.CONFIGURATION, f"{called}: {error.reason}") from None
