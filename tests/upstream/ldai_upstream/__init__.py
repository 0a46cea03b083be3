"""The library around every application and every endpoint of somebody else's test suite."""
