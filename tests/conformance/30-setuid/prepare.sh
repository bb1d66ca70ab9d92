chmod 4755 v1/app/archived
