"""Observes one host: probes in the kernel, rows, delivery."""
