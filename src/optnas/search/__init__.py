"""A search from its settings to its records: settings, state, steps, loop, observation, exam.

`settings` completes and checks what a user wrote, `state` builds a search from it, `steps` moves
it by one batch, `loop` by one epoch; `api` is the Python surface over them.
"""
