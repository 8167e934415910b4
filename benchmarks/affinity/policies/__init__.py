"""The ways to choose an engine that are compared: ours, and other projects' written again from their source."""
