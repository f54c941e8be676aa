"""The C of the probes: one file a probe."""
