"""Supervised fine-tuning: training rows → chat template → a student's weights.

`settings` is what a recipe says of it, `encoding` makes tokens of rows, `packing` says
which rows make a step, `collation` makes tensors of them, `trainer` takes the steps,
`checkpoints` keeps them, `run` leads through it all, and `launch` starts the ranks.
"""
