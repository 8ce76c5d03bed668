"""What documents have in common: copies, near-duplicates, repeated lines and passages."""
