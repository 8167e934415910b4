"""What runs inside the pods: the engine launcher and the router."""

__version__ = "0.1.0"
