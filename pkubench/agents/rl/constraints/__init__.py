"""Cost constraints: one module each, with its formula, its settings and the state that it adapts.

``base.py`` says what a learner asks of a constraint. A new one is a module here, or anywhere else,
that registers a subclass of ``Constraint``.
"""
