#!/bin/sh
# The deployment fails, and is rolled back, if this does not end with 0.
grep -q Hello /srv/hello/index.html
