"""The doors: what each does beside keeping the contract."""
