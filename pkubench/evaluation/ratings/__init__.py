"""Ratings of agents from tables of results: Nash averaging, alpha-rank, Elo and its limits."""
