"""An adapter that plays a script: sends its "<" lines, expects its ">" lines. {work} stands for the working directory."""

import json
import sys


def main():
    script, command = sys.argv[1], sys.argv[2]
    if command == "discover":
        print(json.dumps({"targets": [{"module": sys.argv[3], "name": "t", "type": "task", "parameters": []}]}))
        return
    work, execution = "", ""
    for line in open(script, encoding="utf-8"):
        mark, text = line[:1], line[2:].rstrip("\n")
        if mark == "<":
            sys.stdout.write(text.replace("{id}", execution) + "\n")
            sys.stdout.flush()
        elif mark == ">":
            raw = sys.stdin.readline()
            if not raw:
                return  # told to go
            got = json.loads(raw)
            if got.get("method") == "execute":
                execution = got["params"]["execution_id"]
                work = got["params"].pop("working_dir")
            want = json.loads(text.replace("{id}", execution))
            if got != want or json.dumps(got) != json.dumps(want):
                error = {"type": "mismatch", "message": f"got {json.dumps(got)} instead of {text}"}
                params = {"execution_id": execution, "error": error}
                print(json.dumps({"method": "execution_error", "params": params}), flush=True)
                return
        elif mark == "!":
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
    sys.stdin.read()


main()
