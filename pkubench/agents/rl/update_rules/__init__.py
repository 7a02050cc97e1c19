"""Policy update rules: one module each, with its formula and its settings.

``base.py`` defines the terms of a loss. A new rule is a module here, or anywhere else, that
registers a subclass of ``GradientRule`` with a ``loss``; autograd does the rest.
"""
