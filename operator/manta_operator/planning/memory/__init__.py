"""What a rank holds: weights, KV cache and the overhead of vLLM."""
