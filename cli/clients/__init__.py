"""Clients of a deployed stack, its signed routes and Tallyfy."""
