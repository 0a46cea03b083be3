"""The core: what happens to one run, whichever door it came through."""
