"""Decodes the body of a verified request to a value for expressions. Pure and bounded."""

import re
import zlib
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json

from lifecycle.aws.api_gateway import MOST_BYTES
from lifecycle.domain.errors import Code, Rejected

_FORM = re.compile(rb"[A-Za-z0-9_.%\[\]-]+=")
_GZIP = b"\x1f\x8b"
_MOST_FIELDS = 1000
_DEEPEST_XML = 100


class Untranslatable(Rejected):
    """The request is authentic and wanted, but it cannot be translated to a command."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.UNTRANSLATABLE, reason)


class PayloadEncoding(BaseModel):
    """How a source encodes what it sends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["json", "form", "xml"] = "json"
    """How the body is encoded."""
    field: str | None = None
    """For ``form``: the field that holds JSON, such as ``payload``; by default, the body is all fields."""
    lists: Annotated[frozenset[str], Field(max_length=100)] = frozenset()
    """For ``xml``: elements that are always a list, however many there are."""

    @model_validator(mode="after")
    def _parts_fit_the_format(self) -> Self:
        if (self.field is not None and self.format != "form") or (self.lists and self.format != "xml"):
            msg = "'field' belongs to format = \"form\", and 'lists' to format = \"xml\""
            raise ValueError(msg)
        return self

    def read(self, raw: bytes) -> object:
        """Decode the body of a request. Raises ``Untranslatable``."""
        raw = unpacked(raw)
        match self.format:
            case "json":
                return _read_only_json(raw)
            case "form":
                return self._form(raw)
            case "xml":
                return _read_xml(raw, self.lists)

    def _form(self, raw: bytes) -> object:
        try:
            pairs = parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise Untranslatable(f"The form has more than {_MOST_FIELDS} fields.") from None
        fields = dict(pairs)
        if self.field is None:
            return fields
        if self.field not in fields:
            raise Untranslatable(f"The form has no field '{self.field}'.")
        return read_json(fields[self.field].encode("utf-8", "surrogatepass"))


def unpacked(raw: bytes) -> bytes:
    """The body without gzip, which is recognized by its first two bytes. Raises ``Untranslatable``."""
    if not raw.startswith(_GZIP):
        return raw
    unpacking = zlib.decompressobj(wbits=31)
    try:
        found = unpacking.decompress(raw, MOST_BYTES + 1)
    except zlib.error:
        raise Untranslatable("The body begins like gzip but cannot be unpacked.") from None
    if not unpacking.eof or len(found) > MOST_BYTES:
        raise Untranslatable(f"The body is cut off, or larger than {MOST_BYTES} bytes when unpacked.")
    return found


def read_json(raw: bytes) -> object:
    """JSON of any shape. Raises ``Untranslatable``. The parser bounds the depth."""
    try:
        return from_json(raw)
    except ValueError:
        raise Untranslatable("The body is not JSON.") from None


def _read_only_json(raw: bytes) -> object:
    try:
        return read_json(raw)
    except Untranslatable as error:
        other = {b"<": "xml"}.get(raw.lstrip()[:1], "form" if _FORM.match(raw) else "")
        hint = f' It looks like {other}: write payload = {{ format = "{other}" }}.' if other else ""
        raise Untranslatable(f"{error.reason}{hint}") from None


def _read_xml(raw: bytes, lists: frozenset[str]) -> object:
    """XML as xmltodict returns it: attributes as ``@name``, text beside them as ``#text``, without namespaces.

    Entities are refused, because they could expand a small body without limit or read a file.
    """
    from xml.parsers.expat import ExpatError  # noqa: PLC0415

    import xmltodict  # noqa: PLC0415 - only sources that send XML pay for it

    def bounded(path: list[object], key: str, value: object) -> tuple[str, object] | None:
        if len(path) > _DEEPEST_XML:
            raise ValueError(key)
        if key == "@xmlns" or key.startswith("@xmlns:"):
            return None
        mark = "@" if key.startswith("@") else ""
        return mark + key.removeprefix("@").rpartition(":")[2], value

    try:
        found: object = xmltodict.parse(
            raw,
            disable_entities=True,
            postprocessor=bounded,
            force_list=lambda _, key, __: key.rpartition(":")[2] in lists,
        )
    except (ExpatError, ValueError, LookupError, RecursionError):
        raise Untranslatable(
            f"The body is not XML, or it declares entities, or it is deeper than {_DEEPEST_XML} elements."
        ) from None
    return found
