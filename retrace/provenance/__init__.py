"""The audit: what Snakemake ran, as DVC records it, and the way back from any row.

Snakemake decides what is stale and runs it; DVC keeps hashes and moves data. This
package joins the two: it alone knows the files that either of them keeps.
"""
