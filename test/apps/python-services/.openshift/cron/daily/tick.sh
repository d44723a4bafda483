#!/bin/bash
echo "daily tick" >>"${OPENSHIFT_DATA_DIR}daily"
