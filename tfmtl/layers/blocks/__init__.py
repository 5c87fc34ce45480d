"""What structures are made of: dense stacks, experts, gates, towers."""
