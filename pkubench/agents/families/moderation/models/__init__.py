"""What maps a pair of texts to a score for each label: components of the slot ``model``."""
