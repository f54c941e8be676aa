"""The store: its client, schema, migrations and the embedded engine's SQL port."""
