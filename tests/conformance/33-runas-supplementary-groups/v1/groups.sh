#!/bin/sh
echo "GROUPS $(id -Gn)" >> /conformance/trace/trace.log
