"""Credit assignment: the step between a rollout's rewards and the advantages; one module each.

``base.py`` defines the interface. A method of credit assignment is a module here, or
anywhere else, that registers a subclass of ``CreditFormula``, or of ``Credit`` where it learns. It
contains no code of the policy's update.
"""
