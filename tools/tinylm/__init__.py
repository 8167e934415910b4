"""The parts of `tools/tiny_model.py`: the text, the tokenizer, the training of the tiny test model."""
