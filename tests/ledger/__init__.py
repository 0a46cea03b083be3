"""Promises about the ledger: each provider call exactly once, with a provider of this machine."""
