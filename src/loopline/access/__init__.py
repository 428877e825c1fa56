"""Who may do what: principals, tokens, roles. Pure decisions over small tables."""
