"""The measured claims: ``python -m benchmarks`` prints what tracking costs, beside peers and hand-written code."""
