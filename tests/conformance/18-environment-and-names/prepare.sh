mkdir v2/größe v2/skripte v3/app v5/app
echo ü > v2/größe/naïve
printf '#!/bin/sh\necho schön; echo AfterInstall läuft >> /conformance/trace/trace.log\n' > v2/skripte/größe.sh
chmod 755 v2/skripte/größe.sh
cd v3/app
echo 1 > ' leading'; echo 2 > ./-rf; echo 3 > 'trailing '; echo 4 > 'wild*card'
cd ../../v5/app
echo 5 > 'one
two'
