#!/bin/sh
echo "HOOK $LIFECYCLE_EVENT rev=v1 user=$(id -un)" >> /conformance/trace/trace.log
sleep 300 &
