"""The box: a single-machine stand-in for a cluster, for trying and for testing, never for production."""
