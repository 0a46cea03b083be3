"""Tests with an event loop that measures its callbacks."""
