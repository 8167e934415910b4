"""The parts of `tools/checkpoints.py`: the methods as data, the texts, and what turns one checkpoint into another."""
