"""Tests: a folder for each package, and for what several packages promise together."""
