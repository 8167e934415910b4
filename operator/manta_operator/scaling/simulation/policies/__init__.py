"""Policies that can run in the simulator: ours, the peers', a fixed number, and an oracle that knows the trace."""
