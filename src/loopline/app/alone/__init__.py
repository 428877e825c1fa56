"""Commands that need no loop: what they read, as people have it, and what they answer."""
