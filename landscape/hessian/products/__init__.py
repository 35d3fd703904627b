"""Hessian-vector products, and how they are computed on one device."""
