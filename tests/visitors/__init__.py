"""Visitors without a login."""
