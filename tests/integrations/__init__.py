"""What each integration does beyond the contract that all of them keep."""
