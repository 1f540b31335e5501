#!/bin/bash
# Whether the process of this container lives. The image has no HTTP client, and bash can open a connection itself.
set -u
host=127.0.0.1
port=${PORT:-${TURNPIKE__SERVER__PORT:-8080}}
exec 3<>"/dev/tcp/$host/$port" || exit 1
printf 'GET /livez HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$host" >&3
IFS= read -r -t 2 status <&3 || exit 1
case $status in
    'HTTP/1.1 200'*) exit 0 ;;
    *) exit 1 ;;
esac
