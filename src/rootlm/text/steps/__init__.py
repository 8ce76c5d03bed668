"""What is done to a document by itself: rewrites, labels and the rules that drop it."""
