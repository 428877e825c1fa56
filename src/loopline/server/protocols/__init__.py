"""Wire protocols of others that Loopline speaks: from their requests to ours, and back. Pure; no transport."""
