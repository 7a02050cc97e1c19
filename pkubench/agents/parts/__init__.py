"""Building blocks learners are composed of: small, pure where possible, shared."""
