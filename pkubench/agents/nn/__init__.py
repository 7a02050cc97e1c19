"""Networks, distributions and normalisers."""
