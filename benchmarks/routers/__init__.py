"""Routers side by side: Manta's and its peers' before the same backends, in one run on one machine."""
