"""The `manta` command: plan, render, up, status, logs, down, operator."""
