"""Holds: resources that must be kept, even if a rule or a command asks for their removal."""
