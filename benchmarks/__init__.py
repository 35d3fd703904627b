"""Our speed beside peers, measured in one run; each module ends with one line of JSON."""
