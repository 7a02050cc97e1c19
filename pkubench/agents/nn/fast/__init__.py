"""Hand-written gradients and inference in NumPy, for the networks that have them."""
