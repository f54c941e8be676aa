"""The aggregator: receives from agents, stores, serves SQL, health and metrics."""
