"""payplat without its group commit: ``python -m benchmarks.batch_of_one …`` is ``payplat …``, each write alone."""

from payplat.cli import main
from payplat.group_commit import GroupCommit

if __name__ == "__main__":
    GroupCommit.__init__.__kwdefaults__["limit"] = 1
    main()
