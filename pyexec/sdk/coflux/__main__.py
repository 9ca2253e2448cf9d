"""The adapter program: python -m coflux discover|execute|fork."""

import sys


def main(argv: list[str]) -> int:
    if argv[:1] == ["execute"] and len(argv) == 1:
        from coflux import _execute

        return _execute.main()
    if argv[:1] == ["fork"]:
        from coflux import _fork

        return _fork.main("".join(argv[1:2]), argv[2:])
    if argv[:1] == ["discover"] and len(argv) > 1:
        from coflux import _discover

        return _discover.main(argv[1:])
    print("usage: python -m coflux discover MODULE [MODULE...] | execute | fork [SNAPSHOT MODULE...]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
