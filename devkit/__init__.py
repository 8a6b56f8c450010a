"""The `switchboard` command: what develops, plays and inspects a Switchboard; none of it reaches a Lambda."""
