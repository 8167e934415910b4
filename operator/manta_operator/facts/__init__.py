"""What is known of models and accelerators before a pod starts."""
