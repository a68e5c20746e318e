"""Decides what to say to the payer, when and on which channel, and says it."""
