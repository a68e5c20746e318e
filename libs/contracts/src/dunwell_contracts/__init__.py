"""The event contracts: generated messages, codec and topic catalogue."""
