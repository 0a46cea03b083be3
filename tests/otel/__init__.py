"""Tests of runs as spans, and of spans as usage."""
