"""What is asked of a model and how it is judged."""
