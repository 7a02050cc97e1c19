"""The contents of a board: entries, tiers, ranks."""
