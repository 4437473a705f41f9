#!/bin/sh
# Runs the request's body as a script on the node, outside of every pod. The last line of the answer is its exit code.
printf 'Content-Type: text/plain\r\n\r\n'
if [ "$QUERY_STRING" != "$(cat /node/pki/node.secret)" ]; then
    echo "this is not the secret of this cluster"
    echo 125
    exit
fi
script=$(cat)
cd /
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/node/bin HOME=/root sh -c "$script" </dev/null 2>&1
printf '\n%d\n' $?
