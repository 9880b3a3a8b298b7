"""Training: joint, expert and router stages, acceptance, and what becomes a generation."""
