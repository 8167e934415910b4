"""The few controllers of Kubernetes we lean on, run in the box against its own API server."""
