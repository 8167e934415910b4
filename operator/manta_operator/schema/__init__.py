"""Kubernetes structural schemas, offline: pruning, defaulting, validation and CEL rules, as an API server does them."""
