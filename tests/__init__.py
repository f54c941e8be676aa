"""Tests: unit (any machine), fuzz, kernel (root and eBPF), integration (real servers), e2e (browser)."""
