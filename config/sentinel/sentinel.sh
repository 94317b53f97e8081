#!/bin/sh
# Starts one Sentinel. It keeps what it knows in its own file, which is written here at the first start only.
set -eu
umask 077
directory=${DATA:-/data}
file=$directory/sentinel.conf

if [ ! -f "$file" ]; then
  cat >"$file.new" <<END
port ${PORT:-26379}
bind ${BIND:-* -::*}
protected-mode no
dir $directory
# Names, because addresses of containers change.
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $NAME
user default off
# The gates, and the Sentinels among themselves.
user watch on >$WATCH_PASSWORD &__sentinel__:hello +ping +hello +info +role +publish +client|setname +sentinel
sentinel sentinel-user watch
sentinel sentinel-pass $WATCH_PASSWORD
# Two of three have to agree that it is down.
sentinel monitor shop $MASTER 2
sentinel auth-user shop sentinel
sentinel auth-pass shop $SENTINEL_PASSWORD
sentinel down-after-milliseconds shop ${DOWN_AFTER_MS:-3000}
sentinel failover-timeout shop 10000
END
  mv "$file.new" "$file"
fi
exec valkey-sentinel "$file"
