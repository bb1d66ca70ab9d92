#!/bin/sh
# Nothing serves the page in this example; a real script would start the service.
echo "starting $APPLICATION_NAME, deployment $DEPLOYMENT_ID"
