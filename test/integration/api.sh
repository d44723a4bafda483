#!/bin/bash
# The broker alone, with a node that is played by the test: the API from first login to last delete,
# over restarts and kill -9. Needs no root.
: "${PINION_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${PINION_BUILDDIR:=$PINION_SRCDIR}"
export PINION_SRCDIR PINION_BUILDDIR PYTHONPATH=$PINION_SRCDIR/test/lib PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "$PINION_SRCDIR/test/integration/api.py"
