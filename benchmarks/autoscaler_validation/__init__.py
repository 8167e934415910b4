"""How far the autoscaler's simulator can be believed: the same requests through it and through other engines."""
