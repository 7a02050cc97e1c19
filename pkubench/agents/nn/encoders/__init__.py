"""Encoders: from an observation to features; one module each, with its settings.

``base.py`` defines the interface of an encoder. The torch modules are in ``nn/modules.py``.
"""
