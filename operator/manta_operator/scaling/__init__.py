"""The autoscaler: signals in, replicas and reasons out. Pure; the controller reads signals, and applies the answer."""
