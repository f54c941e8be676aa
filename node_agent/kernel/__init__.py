"""Compile, load and read eBPF: BTF headers, loader, rings, system call."""
