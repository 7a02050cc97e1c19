"""The batch contract, the registry of environments, seeds and conformance checks."""
