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

    Raises ``Rejected`` if there is no such export, or if a part may not be erased yet. Calling it again continues an
    erasure that was cut off.
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
    except Rejected:  # The export was never finished, or is damaged. Its contents are personal data too.
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
    # Written last: a manifest that says so too early would stop a second attempt.
    objects.put(part_key(folder, FILE_NAME), stone.to_json(), kind="application/json")
    objects.erase(part_key(folder, FILE_NAME), but_newest=True)
    return stone
