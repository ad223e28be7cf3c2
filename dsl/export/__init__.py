"""A resolved system as code of other frameworks or as an ONNX graph; what runs it here, and text, it does not know."""
