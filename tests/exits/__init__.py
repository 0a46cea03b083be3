"""Real processes that end in every way a process can, with their events counted where they arrive."""
