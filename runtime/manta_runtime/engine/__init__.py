"""The engine launcher: PID 1 of an engine pod."""
