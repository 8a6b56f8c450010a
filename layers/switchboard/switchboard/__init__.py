"""The machinery behind a voice agent: signatures, messages, sessions, tool calls, deliveries, phone answers."""
