"""The Tallyfy API: its client, the bodies of its answers, and what an export reads."""
