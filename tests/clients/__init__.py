"""Clients of the providers' real packages, wrapped, against a provider of this machine."""
