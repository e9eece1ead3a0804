"""What everything is said in: capabilities, commands, intents, events, errors. No I/O."""
