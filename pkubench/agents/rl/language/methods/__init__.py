"""Methods of training a language model or a score model, one module per paper."""
