"""Removes what no function uses from installed packages. Run by the Makefile: ``trim_sdk.py <site>``.

botocore lists the folders of all 400 services and reads a file of 1.2 MB with the endpoints of all of them when its
first client is made. Only the services that the functions call stay. What stays is unchanged: a test compares each
endpoint of each region with the original.
"""

import json
import shutil
import sys
from pathlib import Path

SERVICES = ("dynamodb", "events", "s3", "scheduler", "secretsmanager", "sqs")
_UNUSED = ("waiters-*", "examples-*", "completions-*")
"""What botocore reads only for calls that no function makes."""


def trim(botocore: Path) -> None:
    """Trim an installed botocore in place."""
    data = botocore / "data"
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    for pattern in _UNUSED:
        for file in data.rglob(pattern):
            file.unlink()
    endpoints = data / "endpoints.json"
    known = json.loads(endpoints.read_text(encoding="utf-8"))
    for partition in known["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in SERVICES if name in services}
    endpoints.write_text(json.dumps(known, separators=(",", ":")), encoding="utf-8")
    (botocore / "cacert.pem").unlink()  # Used where certifi is missing.


def drop_encoding_detection(site: Path) -> None:
    """Remove charset-normalizer. requests imports it at start, only to guess the encoding of a text without one.

    The functions read bytes, and requests works without it. It costs 5 to 8 % of the start of a worker.
    """
    for pattern in ("charset_normalizer", "charset_normalizer-*.dist-info"):
        for folder in site.glob(pattern):
            shutil.rmtree(folder)
    for compiled in site.glob("*__mypyc*.so"):
        compiled.unlink()


if __name__ == "__main__":
    trim(Path(sys.argv[1]) / "botocore")
    drop_encoding_detection(Path(sys.argv[1]))
