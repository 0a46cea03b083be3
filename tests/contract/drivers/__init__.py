"""One small application per integration."""
