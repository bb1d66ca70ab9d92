mkdir v1/app/empty v2/app/empty
for v in v1 v2; do
  chmod 755 $v/app/exec; chmod 600 $v/app/secret; chmod 666 $v/app/wide
  chmod 700 $v/app/sub $v/app/empty; chmod 1777 $v/app/sticky
  chown cdtest:cdtest $v/app/secret
  touch -d 2020-01-02T03:04:06Z $v/app/exec
done
chmod 700 v1/closed-scripts
