"""The endpoint picker: asked once per request, it answers which replica serves it."""
