"""The traffic test: requests through a deployment's Service while things change, and what became of each of them.

world.py    a box with one deployment of simulated engines
load.py     sends requests at a fixed rate, whatever becomes of them (open loop)
request.py  one request and its outcome
changes.py  what is done to the deployment meanwhile
report.py   counts per change
"""
