"""`python -m rootlm` is the `rootlm` command."""

from rootlm.cli.main import main

if __name__ == "__main__":
    main()
