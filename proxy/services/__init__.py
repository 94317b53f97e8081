"""What the product does: gate, runtime, schemes, sessions, tokens."""
