"""The toys, for every test here."""

from tests.training.toys import toys

__all__ = ["toys"]
