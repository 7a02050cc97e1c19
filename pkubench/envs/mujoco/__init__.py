"""MuJoCo physics, many copies of a model at once, and its camera."""
