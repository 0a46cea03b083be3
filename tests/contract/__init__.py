"""One list of promises, and every door that must keep it."""
