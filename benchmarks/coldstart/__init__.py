"""How much the launcher adds to a cold start of bare vLLM, in one run."""
