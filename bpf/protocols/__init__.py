"""How the kernel tells one protocol from another: one header each."""
