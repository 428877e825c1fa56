"""The control plane over HTTP: what there is, what people change, and how things stand. Thin routes over the parts below."""
