"""LLM frameworks with only the decorator, in an environment of their own: ``tox run -e stacks``."""
