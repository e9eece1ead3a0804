"""Holds: what must be kept, whatever a rule or a command says."""
