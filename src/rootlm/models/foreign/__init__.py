"""Other libraries' checkpoints: their names, their configs, their files, read and written."""
