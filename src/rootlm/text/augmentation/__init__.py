"""More training text from the text there is, by small seeded changes."""
