"""The topic catalogue, copied from proto/topics; do not edit."""
