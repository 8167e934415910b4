"""A discrete-event model of a deployment, for trying the autoscaler: `run.run(trace, policy, setup)`. Pure."""
