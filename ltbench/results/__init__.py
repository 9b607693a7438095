"""What is stored of finished cells, and everything that is computed from it."""
