"""The types that users see."""
