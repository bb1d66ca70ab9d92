#!/bin/sh
{ echo "$LIFECYCLE_EVENT OWN=$OWN LANG=$LANG id=$AWS_ACCESS_KEY_ID key=$AWS_SECRET_ACCESS_KEY file=$AWS_CREDENTIAL_FILE region=$AWS_REGION umask=$(umask)"; } >> /conformance/trace/trace.log
