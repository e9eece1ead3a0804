"""The terms that every other package uses: capabilities, commands, intents, events, errors. No I/O."""
