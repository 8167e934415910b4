"""The Endpoint Picker Protocol: gateways of the Gateway API Inference Extension ask the picker over ext_proc."""
