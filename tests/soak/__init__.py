"""Many requests: none sees another's run, and nothing is left of any."""
