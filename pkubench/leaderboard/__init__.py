"""Bundles, verification, the store and the site built from records."""
