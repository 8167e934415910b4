"""The parts of `tools/install.py`. Standard library only: they run before anything is installed."""
