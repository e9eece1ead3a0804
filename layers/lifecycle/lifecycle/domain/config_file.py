"""The operator's files: TOML, checked as a whole, with errors that say which key is wrong and what to write instead."""

import tomllib
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from lifecycle.domain.commands import describe
from lifecycle.domain.errors import Code, Rejected


class OperatorsFile(BaseModel):
    """One file of ``layers/config``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file_name: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the TOML, or raise ``Rejected`` saying which key is wrong and what to write instead."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise Rejected(Code.CONFIGURATION, f"{cls.file_name} is not TOML: {error}") from None
        except ValidationError as error:
            raise Rejected(Code.CONFIGURATION, f"{cls.file_name}: {describe(error)}") from None
        except Rejected as error:
            raise Rejected(Code.CONFIGURATION, f"{cls.file_name}: {error.reason}") from None
