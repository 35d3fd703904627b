"""What products and gradients of samples say of a spectrum, one method a file."""
