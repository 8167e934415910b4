"""Kubernetes' own placement rules as pure functions: which pods fit on which nodes, and what is free."""
