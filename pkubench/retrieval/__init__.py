"""Memory banks: recorded episodes of grid worlds to look up, what looks them up, and how well."""
