"""The TOPS loop: trains a base model on problems with known answers to obey effort tags."""
