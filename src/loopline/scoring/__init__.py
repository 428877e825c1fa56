"""The scoring path: contract, features, model, decision, prediction id, spool, answer."""
