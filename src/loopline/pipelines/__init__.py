"""Durable pipelines: steps, their graph, and the engine that runs each step to one committed result."""
