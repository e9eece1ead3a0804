"""Carries out commands: the ledger, its state machine, the worker, undo and status."""
