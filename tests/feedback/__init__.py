"""Votes, from the token to the event, through every application."""
