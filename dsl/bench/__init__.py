"""Timing a cell beside its peers: the same cell exported to other frameworks, and what those ship."""
