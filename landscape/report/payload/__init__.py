"""Results packed as the JSON that the page unpacks, one kind a file."""
