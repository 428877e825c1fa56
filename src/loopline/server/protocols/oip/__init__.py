"""The Open Inference Protocol v2: JSON and binary tensors over REST, and gRPC (github.com/kserve/open-inference-protocol).

Each encoding becomes the same `InferRequest` of flat tensors, which becomes columns. Where the protocol says nothing: a missing
number is `null` in JSON and NaN in binary, a missing text is `null` in JSON, and text and times travel as BYTES.
"""
