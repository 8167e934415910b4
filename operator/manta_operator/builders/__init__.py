"""One pure builder per child kind: values in, a plain dict with stable order out."""
