"""One AI run: from the request or call that opens it to the record that is reported."""
