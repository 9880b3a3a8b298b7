"""Training: joint, expert and router stages, the gate, and what becomes a generation."""
