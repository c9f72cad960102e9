"""``python -m tokfrag.cli``: the command where no script is installed."""

import sys

from tokfrag.cli.main import main

sys.exit(main())
