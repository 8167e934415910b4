"""`make bench-fit`: what the fit predicts, beside what real start-ups of vLLM logged."""
