"""The core: what happens to one run, whichever integration opened it."""
