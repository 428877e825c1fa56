"""Durable pipelines. The engine comes with its own issue; the turn of the loop is what runs today."""
