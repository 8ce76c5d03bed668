"""Words, sentences and what classical models and linguists ask of them."""
