"""Builds each function from its settings. Only this package knows every other."""
