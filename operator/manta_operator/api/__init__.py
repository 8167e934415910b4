"""The LLMDeployment API: typed models, their CEL rules, and the CRD generated from them."""
