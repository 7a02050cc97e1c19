"""What stands on a board: entries, tiers, ranks."""
