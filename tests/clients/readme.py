"""The README's Python example, with the little of Flask that it needs; run in an empty directory with otpd on the path."""
import glob, re, sys
from pathlib import Path
from types import SimpleNamespace

root = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True  # nothing is left beside the sources
sys.path.insert(0, str(root / "scripts" / "clients"))
[example] = re.findall(r"```python\n(.*?)\n```", (root / "README.md").read_text(encoding="utf-8"), re.S)

routes = {}
request, session = SimpleNamespace(remote_addr="192.0.2.7", form={}), {}


class Flask:
    def __init__(self, name):
        pass

    def post(self, path):
        return lambda handler: routes.setdefault(path, handler)


sys.modules["flask"] = SimpleNamespace(Flask=Flask, request=request, session=session)
exec(compile(example, "README.md", "exec"), {"__name__": "example"})


def post(path, **form):
    request.form = form
    answer = routes[path]()
    return answer if isinstance(answer, tuple) else (answer, 200)


assert post("/verify", code="123456")[1] == 403
assert post("/code", to="ann")[1] == 400
assert post("/code", to="ann@example.org") == ("Look into your mail.", 200)
text, status = post("/code", to="ann@example.org")
assert re.fullmatch(r"Try again in \d+ s\.", text) and status == 429
[message] = glob.glob("outbox/*.eml")
code = next(line for line in Path(message).read_text().splitlines() if re.fullmatch(r"\d{6}", line))
assert post("/verify", code="1")[1] == 403
assert post("/verify", code=code) == ("Welcome, ann@example.org.", 200)
assert post("/verify", code=code)[1] == 403
print("as it says")
