"""The pages in docs/: what they show works, and what they say is so."""
