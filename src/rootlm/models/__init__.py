"""One interface for every language model, and the models."""
