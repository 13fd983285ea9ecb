#!/usr/bin/env python3
"""docs/api.md names the requests that api.c's table takes, no more and no fewer, and the fields that answers have.

usage: api_doc_test.py ROOT-OF-THE-SOURCE
"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
page = (root / "docs" / "api.md").read_text(encoding="utf-8")
engine = root / "src" / "engine"

table = re.findall(r'\{"([A-Z]+)", "(/v1/\w+)", (true|false), \w+\}', (engine / "api.c").read_text(encoding="utf-8"))
taken = {f"{method} {path}" for method, path, _ in table} | {f"{method} {path}/N" for method, path, rest in table if rest == "true"}
named = set(re.findall(r"^\| `([A-Z]+ /v1/\S+)` \|", page, re.MULTILINE))
told = set(re.findall(r"/v1/\w+(?:/N)?", page))
problems = [f"api.c takes {request}, docs/api.md does not name it" for request in sorted(taken - named)]
problems += [f"docs/api.md names {request}, api.c does not take it" for request in sorted(named - taken)]
problems += [f"docs/api.md speaks of {path}" for path in sorted(told) if not any(r.endswith(path) for r in taken)]

sources = "".join(path.read_text(encoding="utf-8") for path in sorted(engine.glob("report*.c")))
fields = set(re.findall(r'"([a-z]+(?:_[a-z]+)*)",\s+(?:report_text|\(int\)|\(json_int_t\)|json_|components|clock)', sources))
fields |= set(re.findall(r'json_object_set_new\(\w+, "(\w+)"', sources))
problems += [f"answers have '{field}', docs/api.md does not name it" for field in sorted(fields) if f"`{field}`" not in page and f"`{field}[]`" not in page]
if len(taken) < 5 or len(fields) < 15:
    problems.append(f"only {len(taken)} requests and {len(fields)} fields found in the sources: does the table look different now?")
print("\n".join(problems) or f"{len(taken)} requests and {len(fields)} fields are as documented")
sys.exit(bool(problems))
