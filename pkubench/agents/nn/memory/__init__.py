"""Memory of a policy between steps: one module each, with its settings."""
