"""The response cache: exact repeats of deterministic requests, answered without an engine (docs/adr/0017).

The picker asks `response_cache.py` before it chooses a replica. A miss goes through `proxy.py`, which keeps the answer.
"""
