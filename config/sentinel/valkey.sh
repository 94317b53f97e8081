#!/bin/sh
# Starts one server of the set. Its file is written at the first start only: later the Sentinels change it,
# and a server that comes back must know whom it follows. Passwords come from the environment.
set -eu
umask 077
directory=${DATA:-/data}
file=$directory/valkey.conf

if [ ! -f "$file" ]; then
  cat >"$file.new" <<END
port ${PORT:-6379}
bind ${BIND:-* -::*}
protected-mode no
dir $directory
replica-announce-ip $NAME
appendonly yes
repl-diskless-sync-delay 0
# Nothing is evicted: a session or revocation that were would be gone without a word.
maxmemory 256mb
maxmemory-policy noeviction
user default off
# What docs/store.md lists, with Sentinels.
user gate on >$GATE_PASSWORD ~latchgate:* +mget +get +set +del +exists +scan +incr +pttl +pexpire +zadd +zcount +zrange +zrem +zremrangebyscore +eval +evalsha +xadd +xrange +xrevrange +info +ping +select +hello +client|tracking +role +wait
user replica on >$REPLICA_PASSWORD +psync +replconf +ping
user sentinel on >$SENTINEL_PASSWORD &* +multi +exec +replicaof +slaveof +ping +subscribe +config|rewrite +role +publish +info +client|setname +client|kill +script|kill
masteruser replica
masterauth $REPLICA_PASSWORD
${FOLLOWS:+replicaof $FOLLOWS}
END
  mv "$file.new" "$file"
fi
exec valkey-server "$file"
