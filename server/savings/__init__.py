"""What the gateway saved, measured against its randomised holdout."""
