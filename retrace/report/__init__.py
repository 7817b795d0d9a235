"""The report: one HTML file that says what was done, what it cost and what came out.

`inputs` names what it is made of, `summary` counts rows without keeping their texts,
`browser` picks the rows to read, `figures` draws, `page` puts it together. `text` makes
text that others wrote safe to show.
"""
