"""What every room may use: errors, files, tables, images, Hugging Face models."""
