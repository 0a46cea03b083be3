"""Example applications: a model server to talk to, one app per framework, and a demo that runs them all."""
