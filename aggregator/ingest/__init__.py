"""From an agent's stream to rows in the store, once."""
