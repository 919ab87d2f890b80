"""Runs Python programs for the tool `python`. What a program sees is built from these modules:

| module | what it does |
| --- | --- |
| `setup` | prepares the interpreter at build time |
| `heap` | lays the snapshot out for calls that begin from it |
| `library` | the standard library and time zones, kept in memory |
| `program` | one call: arguments, compiling, running, the answer |
| `results` | values as JSON within bounds |
| `faults` | exceptions as errors with places in the user's code |
| `console` | standard output and error within bounds |
| `modules` | `import` of given sources and of packages in the workspace |
| `workspace` | `open`, `os` and `pathlib` over the workspace |
| `codemode` | `tools` |
| `stubs` | declarations of the tools |
| `shown` | `display` |
| `times` | clocks and waiting |
| `loops` | `asyncio` |
| `web` | `urllib.request` |
| `databases` | `sqlite3` on files of the workspace |
| `errors` | errors of the contract |
| `deep` | a bound on the depth of JSON |
| `refused` | what there is not: processes, threads, sockets, input |

A call's own state is in `program.current`; what lives on in a session are the user's globals,
modules and `/tmp`.
"""
