"""One small application per door."""
