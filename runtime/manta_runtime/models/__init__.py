"""Models: fetches weights and adapters from a hub or a bucket into a cache that engines read from."""
