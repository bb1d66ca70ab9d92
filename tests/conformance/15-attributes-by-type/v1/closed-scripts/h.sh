#!/bin/sh
echo as $(id -un) >> /conformance/trace/trace.log
