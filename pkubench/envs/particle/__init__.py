"""Particle worlds: discs that push, collide and talk on a plane, equal to mpe2 step by step."""
