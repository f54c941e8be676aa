"""Roles, limits, users and row policies of a ClickHouse server, as SQL with placeholders (templates.py)."""
