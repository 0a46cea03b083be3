"""Real servers under traffic while everything around them fails, and the runs that arrive nevertheless."""
