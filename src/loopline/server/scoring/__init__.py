"""The scoring process: the leanest ASGI application over the scoring engine. Needs no database."""
