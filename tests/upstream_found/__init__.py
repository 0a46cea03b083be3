"""Promises that the frameworks' own test suites found broken once."""
