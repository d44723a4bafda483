#!/bin/bash
# Not executable in the repository: the cartridge makes it so.
echo "tick of $OPENSHIFT_APP_NAME by $1"
echo tick >>"${OPENSHIFT_DATA_DIR}ticks"
