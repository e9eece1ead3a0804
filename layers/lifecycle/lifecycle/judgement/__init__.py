"""Floor 2: judgement. Pure functions; time is an argument; no input or output."""
