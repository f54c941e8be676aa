"""One module a probe, of the same stem as its C file."""
