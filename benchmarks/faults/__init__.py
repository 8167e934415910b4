"""What dies, what is lost, how long it takes: one fault after the other on real vLLM, Ray and Envoy, under traffic.

catalogue.py  the faults, and the deployments they befall
world.py      a box with one of those deployments
processes.py  the processes of a pod by what they are, and what is left of them
load.py       requests at a fixed rate, and what became of each of them
watching.py   looks at pods and processes ten times a second: who is ready, who has ended, when
trial.py      one fault: break, watch, wait until all is well again, count
report.py     the table, build/bench/faults.json, and what makes the run fail
main.py       `make faults`

pods.py, starts.py, starts_main.py   `make starts`: groups whose pods start in random order
"""
