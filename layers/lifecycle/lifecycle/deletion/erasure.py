"""Erases the contents of an export and keeps its manifest as a tombstone."""

import re
from datetime import datetime

from lifecycle.aws.s3 import Erasable
from lifecycle.deletion.export_readback import part_key
from lifecycle.deletion.manifest import FILE_NAME, Manifest
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.errors import Code, Rejected

_FOLDER = re.compile(r"exports/([0-9a-f]{32})/(run|task|tag|template)/([0-9a-f]{32})/[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


def erase(objects: Erasable, folder: str, *, by: str, at: datetime, reason: str) -> Manifest:
    """Erase the contents of an export in all versions, and leave a tombstone with the hashes.

    Raises ``Rejected`` where something may not be erased yet. Erasing again goes on where it stopped.
    """
    named = _FOLDER.fullmatch(folder)
    if named is None:
        raise Rejected(Code.INVALID, "An export's folder is exports/<organization>/<kind>/<id>/<name>.")
    body = objects.get(part_key(folder, FILE_NAME))
    keys = objects.all_keys(part_key(folder, ""))
    if body is None and not keys:
        raise Rejected(Code.NOT_FOUND, "There is no such export.")
    try:
        manifest = Manifest.parse(body or b"")
    except Rejected:  # It was never finished, or was spoilt. What is there is as personal.
        org_id, resource, thing_id = named.groups()
        manifest = Manifest(
            org_id=org_id,
            resource=Resource(resource),
            id=thing_id,
            name=None,
            made_at=at,
            parts=(),
            counts={},
            missing=("Its manifest could not be read, so no hashes are kept.",),
        )
    for key in keys:
        if key != part_key(folder, FILE_NAME):
            objects.erase(key)
    stone = manifest if manifest.erased else manifest.tombstone(by=by, at=at, reason=reason)
    # Only now: a manifest that says so before it is true would never be looked at again.
    objects.put(part_key(folder, FILE_NAME), stone.to_json(), kind="application/json")
    objects.erase(part_key(folder, FILE_NAME), but_newest=True)
    return stone
