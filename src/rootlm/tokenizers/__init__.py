"""Text to ids and back: train, load, report; nothing here imports torch."""
