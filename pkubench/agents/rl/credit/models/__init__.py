"""The networks of learned credit models, and their training; they import torch.

The components next to this package hold settings, and import these modules to build a network.
"""
