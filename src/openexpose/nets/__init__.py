"""The networks, defined once, in torch. The runtime's ONNX files are exported from these modules."""
