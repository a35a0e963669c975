"""``python -m linkbell_agent``."""

import sys

from linkbell_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
