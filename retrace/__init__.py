"""Retrace: reproduce open reasoning models with every row traceable.

The library knows rows; it knows no Snakemake and no paths of the workflow.
"""

__version__ = "0.1.0"
