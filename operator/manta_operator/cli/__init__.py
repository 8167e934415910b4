"""The `manta` command: plan, render, up, down, status, logs, chat, release."""
