"""From the bytes of a request to a value: JSON, forms, XML and gzip."""

import gzip
import json
import subprocess
import sys
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lifecycle.aws.api_gateway import MOST_BYTES
from lifecycle.intake.payload import PayloadEncoding, Untranslatable, unpacked

FORM = PayloadEncoding(format="form", field="payload")
XML = PayloadEncoding(format="xml", lists=frozenset({"Notification"}))
BOMB = b"""<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;&c;&c;&c;</a>"""
FILE = b"""<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>"""


def test_json_is_the_default() -> None:
    assert PayloadEncoding().read(b'{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"payload=%7B%7D&a=1", 'It looks like form: write payload = { format = "form" }.'),
        (b" <Envelope/>", 'It looks like xml: write payload = { format = "xml" }.'),
        (b"{", "The body is not JSON."),
        (b"", "The body is not JSON."),
    ],
)
def test_a_body_that_is_not_json_is_refused_with_the_format_it_seems_to_have(raw: bytes, said: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        PayloadEncoding().read(raw)
    assert refusal.value.reason.endswith(said)


def test_a_form_is_read_as_its_fields() -> None:
    assert PayloadEncoding(format="form").read(b"a=1&b=x%20y&c=") == {"a": "1", "b": "x y", "c": ""}


def test_json_in_a_form_field_is_read() -> None:
    assert FORM.read(urlencode({"payload": json.dumps({"action": "closed"})}).encode()) == {"action": "closed"}


@pytest.mark.parametrize("raw", [b"", b"other=1", b"payload=", b"payload={", b"\xff\xfe", b"a&" * 2000])
def test_a_form_without_its_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Untranslatable):
        FORM.read(raw)


def test_xml_is_read_without_prefixes_and_declared_lists_are_always_lists() -> None:
    raw = b"""<?xml version="1.0"?>
    <soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>
    <notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>00D1</OrganizationId>
    <Notification><Id>04l1</Id>
    <sObject xsi:type="sf:Opportunity" xmlns:xsi="x"><sf:Id xmlns:sf="y">006</sf:Id></sObject>
    </Notification></notifications></soapenv:Body></soapenv:Envelope>"""
    found = XML.read(raw)
    assert isinstance(found, dict)
    [notification] = found["Envelope"]["Body"]["notifications"]["Notification"]
    assert (notification["Id"], notification["sObject"]["Id"]) == ("04l1", "006")
    assert notification["sObject"]["@type"] == "sf:Opportunity"


@pytest.mark.parametrize("raw", [b"", b"<a>", b"{}", b"<a></b>", BOMB, FILE, b"<a>" * 200 + b"</a>" * 200, b"\xff"])
def test_broken_or_hostile_xml_is_refused(raw: bytes) -> None:
    with pytest.raises(Untranslatable):
        XML.read(raw)


def test_gzip_is_unpacked() -> None:
    assert PayloadEncoding().read(gzip.compress(b'{"a": 1}')) == {"a": 1}


@pytest.mark.parametrize(
    "raw",
    # Gzip writes the time into its header: without mtime=0 each process would name these cases differently.
    [b"\x1f\x8b", b"\x1f\x8bjunk", gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(b" " * (MOST_BYTES + 1), mtime=0)],
)
def test_broken_truncated_or_oversized_gzip_is_refused(raw: bytes) -> None:
    with pytest.raises(Untranslatable):
        unpacked(raw)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([PayloadEncoding(), FORM, PayloadEncoding(format="form"), XML]))
def test_any_bytes_are_read_or_refused(raw: bytes, payload: PayloadEncoding) -> None:
    for each in (raw, b"\x1f\x8b" + raw, b"<a>" + raw + b"</a>", b"payload=" + raw):
        try:
            payload.read(each)
        except Untranslatable:
            continue


@pytest.mark.parametrize("settings", [{"field": "payload"}, {"format": "form", "lists": ["a"]}, {"format": "yaml"}])
def test_settings_that_do_not_fit_the_format_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PayloadEncoding.model_validate(settings)


def test_only_sources_that_send_xml_import_its_parser() -> None:
    program = "import sys, lifecycle.intake.service as _; sys.exit('xmltodict' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
