"""``python -m maskedge``: the same program as the ``maskedge`` command."""

from maskedge.cli import main

if __name__ == "__main__":
    main()
