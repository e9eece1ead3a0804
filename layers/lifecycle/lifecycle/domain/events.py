"""The source and the version of the events that this stack publishes."""

SCHEMA_VERSION = "1"
"""The version of the events' ``detail``. A new field keeps it; a changed or removed field raises it."""


OWN_EVENTS = "tallyfy-lifecycle"
"""The ``source`` of the events that this stack puts on its bus."""
