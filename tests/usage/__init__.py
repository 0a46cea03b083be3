"""Usage: responses to counts, texts to tokens."""
