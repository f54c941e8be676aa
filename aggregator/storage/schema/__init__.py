"""Numbered migrations of the store, applied in order."""
