"""The commands of ``ldai``, one module each. Every module adds its arguments to the parser and runs its command."""
