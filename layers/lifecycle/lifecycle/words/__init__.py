"""Floor 1: the words everything else is said in. Pure data; imports nothing of ours."""
