"""The Dash app: what the store holds, as pages across hosts."""
