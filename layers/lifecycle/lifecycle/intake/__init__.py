"""Takes commands from other systems: sources, signatures, mapping of payloads."""
