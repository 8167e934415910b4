"""The ways to choose an engine that the benchmark compares: ours, and other projects' written again from their source."""
