"""The commands of ``ldai``."""
