"""What our own events are called and which shape they have."""

SCHEMA_VERSION = "1"
"""Of the events' ``detail``. Fields are added under the same version; a changed or removed field raises it."""


OWN_EVENTS = "tallyfy-lifecycle"
"""The ``source`` of the events that this stack puts on its bus."""
