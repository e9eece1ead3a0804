"""Chat tools: one grammar and one service for all of them, and a folder for each."""
