"""The scheduled clean-up: its jobs, its state, the preflight and the daily check."""
