"""The HTTP routes for operators and for status."""
