"""Methods that learn from a data set: one module each, with its settings."""
