"""``python -m payplat`` is ``payplat``."""

from payplat.cli import main

if __name__ == "__main__":
    main()
