"""What is measured each epoch: observe, never touch."""
