#!/bin/sh
# Creates the database if it does not exist, whole or not at all, and serves it.
set -eu
if [ ! -e "$PGDATA" ]; then
    new=$PGDATA.new
    rm -rf "$new"
    printf '%s' "$DATABASE_PASSWORD" > /tmp/password
    initdb --pgdata="$new" --username="$DATABASE_USER" --pwfile=/tmp/password --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$new/pg_hba.conf"
    echo "CREATE DATABASE \"$DATABASE_NAME\"" | postgres --single -D "$new" postgres > /dev/null
    sync
    mv "$new" "$PGDATA"
fi
# A volume that is mounted again may have been opened to its group.
chmod 700 "$PGDATA"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c shared_buffers=32MB
