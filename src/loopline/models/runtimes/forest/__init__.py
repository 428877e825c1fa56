"""Tree ensembles scored many rows at a time by a small library in C, where it gives the very numbers of ONNX Runtime."""
