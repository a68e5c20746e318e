"""What is checked about the deployment, without an engine and without a cluster."""
