"""`make bench-affinity`: how well the router's policies use the engines' prefix caches, simulated on a trace."""
