"""Checks which URLs a token may be sent to."""

from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def checked_base_url(url: str) -> str:
    """Check a base URL that tokens are sent to: HTTPS, or loopback. Raises ``ValueError``."""
    parts = urlsplit(url)
    # A user in the URL would replace our Authorization header; paths are appended, so nothing may follow the path.
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        msg = "Tallyfy's base URL must be a scheme, a host and a path, such as https://go.tallyfy.com/api"
        raise ValueError(msg)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return url.rstrip("/")
    msg = f"Tallyfy's base URL must be https (or http on loopback), not {parts.scheme or 'without a scheme'}"
    raise ValueError(msg)


def loopback_origin(url: str) -> str | None:
    """Scheme, host and port of a loopback URL; ``None`` for any other."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.hostname in LOOPBACK else None
