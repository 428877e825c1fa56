"""Sources as teams have them: files, databases, spreadsheets, rows that are pushed; identities; freshness."""
