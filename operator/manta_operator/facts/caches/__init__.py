"""What each layer of a model keeps of a sequence, from its `config.json`."""
