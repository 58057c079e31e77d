"""`python -m rbkeras.report`."""

from rbkeras.report.command import main

raise SystemExit(main())
