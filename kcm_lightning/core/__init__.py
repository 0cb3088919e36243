"""The paper: equations 1 to 5 and Algorithms 1 and 2, in torch alone.

Read in this order: `confidence` (equations 1 and 3), `partition` (Algorithm 1), `distillation` (equations 4
and 5), `prompts` (equation 2), `routing` and `collaboration` (Algorithm 2).
"""
