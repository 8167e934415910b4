"""Pure decisions: fit, plan, conditions. Values in, values out; no clock, no I/O."""
