"""A fuzzer of the API: random calls, valid and odd, of every function over all kinds of objects.

What it calls comes from the extension and from bindgen/policy.toml (`functions`). What it hands in is chosen by the
type, and by what the policy says of the parameter (`arguments`, with `scalars`, `memory`, `structs`, `callbacks`), out
of the objects that earlier calls made (`world`). `calls` makes one call, which stands in a file before it is made
(`record`). `child` does seed after seed in a process that may die; `parent` starts it, tells how it ended and goes on.
`python tests/safety/fuzz --help` says what can be chosen.
"""
