"""Point clouds of a scene: points carried by bodies, views of cameras, and what a policy sees."""
