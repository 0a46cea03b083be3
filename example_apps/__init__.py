"""Example applications: a fake model server, one app per framework, and a demo that runs all of them."""
