"""Floor 5: wiring. The only place that reads the environment and builds adapters."""
