"""A list of promises, and every integration that must keep them."""
