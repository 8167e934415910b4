"""An engine simulator: vLLM's API, metrics and way of ending with a latency model in place of a model. Load tests only.

What it may be used for, and what never, says docs/adr/0012-the-engine-simulator.md.
"""
