"""Which autoscaling policy answers in time, and at what cost: `make bench-autoscaler`."""
