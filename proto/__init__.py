"""The wire between agent and aggregator, and the code generated from it."""
