"""Agents from other libraries behind the contract: ONNX graphs and Stable-Baselines3 models."""
