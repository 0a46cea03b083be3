"""The prompt of an AI Config as a request to every provider."""
