"""Manta's control plane: from one LLMDeployment to the objects that serve it."""

__version__ = "0.1.0"
