"""What landscape files say side by side; page, figures and notebook read it."""
