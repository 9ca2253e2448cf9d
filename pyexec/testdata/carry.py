"""An adapter that puts values into files where the published package does, and into the working directory."""

import json
import os
import sys
import tempfile


def say(**message):
    print(json.dumps(message), flush=True)


def value(path, fragment):
    with open(path, "w") as file:
        file.write("{}")
    with open(fragment, "w") as file:
        file.write("x")
    return {"type": "file", "format": "json", "path": path, "references": [["fragment", "bytes", fragment, 1, {}]]}


def main():
    if sys.argv[1] == "discover":
        say(targets=[{"module": sys.argv[2], "name": "t", "type": "task", "parameters": []}])
        return
    say(method="ready", params={"version": "0.11"})
    params = json.loads(sys.stdin.readline())["params"]
    caller = {"execution_id": params["execution_id"]}
    temp = os.path.join(tempfile.gettempdir(), f"coflux_carry_{os.getpid()}")
    argument = value(temp + "_a", temp + "_b")
    say(id=1, method="submit_execution", params={**caller, "module": "m", "target": "t", "arguments": [argument]})
    sys.stdin.readline()
    mine = os.path.join(tempfile.gettempdir(), f"mine_{os.getpid()}")
    say(method="log", params={**caller, "level": 2, "template": temp, "values": {"v": value(temp + "_c", mine)}})
    result = value(temp + "_d", os.path.join(params["working_dir"], "e"))
    say(method="execution_result", params={**caller, "result": result})


main()
