"""Documents: read, repair, filter, tell the language, deduplicate, split; nothing here imports torch."""
