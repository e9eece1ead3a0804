"""How the command reaches a deployed stack, its signed routes and Tallyfy."""
