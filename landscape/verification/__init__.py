"""Whether a file's numbers and this machine's can be trusted."""
