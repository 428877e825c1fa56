"""From alarm to one reversible action: incidents, playbook, freeze, notification."""
