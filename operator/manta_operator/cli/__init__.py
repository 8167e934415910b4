"""The `manta` command, also `kubectl manta`; see docs/cli.md."""
