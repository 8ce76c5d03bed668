"""Files as text: whatever they are packed with and whichever encoding they are in."""
