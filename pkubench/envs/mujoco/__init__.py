"""MuJoCo physics, many copies of a model in a batch, and its camera."""
