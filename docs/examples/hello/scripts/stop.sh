#!/bin/sh
# Runs from the revision that was installed before; not on the first deployment.
echo "stopping $APPLICATION_NAME"
