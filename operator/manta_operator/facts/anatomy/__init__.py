"""Which weights a model is made of, from its `config.json` and the headers of its checkpoint."""
