"""The embedded stack: what stands in for AWS and Tallyfy on one machine."""
