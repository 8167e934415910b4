"""The router: Envoy moves the bytes, the endpoint picker chooses the replica."""
