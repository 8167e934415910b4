"""The box's API server: an in-memory Kubernetes API, good enough for kopf, the Python client and kubectl.

server.py listens; handlers.py reads requests; operations.py decides what a write does; store.py keeps and tells.
"""
