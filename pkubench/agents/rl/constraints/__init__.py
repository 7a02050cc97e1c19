"""Cost constraints: one module each, with its formula, its settings and its adaptive state.

``base.py`` defines the interface of a constraint. A new one is a module here, or anywhere else,
that registers a subclass of ``Constraint``.
"""
