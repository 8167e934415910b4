"""The kopf operator: observe, plan, apply, prune, write status, wait."""
