"""Batches: encoded, kept until acknowledged, streamed."""
