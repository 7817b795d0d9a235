"""The commands of `retrace`, one module each: `add_parser` and `run`."""
