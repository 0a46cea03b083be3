"""Tests of the example apps, on real sockets."""
