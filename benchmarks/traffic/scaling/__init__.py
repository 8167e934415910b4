"""The autoscaling test: a load that changes through a deployment that scales itself, and what became of each request.

shapes.py    how the load of a scenario changes over time
world.py     a box with one deployment of slow, simulated engines that scales itself
watch.py     notes what changes there and when, by watches and looks
timeline.py  what was noted, and what it says: from saturation to StatefulSets
run.py       one scenario with a load
zero.py      at zero: one request, many requests at once
meanwhile.py what else is done to it while it scales
kills.py     the operator is killed in the middle
report.py    a row for each, as a table and as JSON
scenarios.py all of them
main.py      `make autoscaling`
"""
