"""Online evaluations: what judges are asked, what they cost, and what becomes of their scores."""
