#!/bin/bash
# A real Apache Kafka broker (KRaft: broker and controller in one process) on 127.0.0.1, for tests.
#   kafka.sh fetch                          jars into lib/ (Maven; once)
#   kafka.sh start PORT                     format the storage once, start, wait until it answers; uses PORT and PORT+1
#   kafka.sh stop                           SIGTERM, wait; SIGKILL after 30 s
#   kafka.sh topic NAME PARTITIONS [K=V..]  create a topic (K=V: topic settings)
#   kafka.sh tool CLASS ARGS...             any tool class, e.g. org.apache.kafka.tools.TopicCommand
# Environment: KAFKA_DATA folder for everything it writes (needed), KAFKA_HEAP (default "-Xms128m -Xmx768m"),
# KAFKA_EXTRA a file of more server properties (they win).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=${KAFKA_DATA:-}
lib=$here/lib
# The first compiler alone halves the start; no test here measures the broker.
jvm="-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Djava.awt.headless=true"

die() { echo "kafka.sh: $*" >&2; exit 1; }
alive() { [ -s "$data/pid" ] && kill -0 "$(cat "$data/pid")" 2>/dev/null; }
tool() { java -Xmx256m $jvm -Dlog4j2.configurationFile="$here/tool-log4j2.properties" -cp "$lib/*" "$@"; }

# Ask ApiVersions (key 18, version 0) on the wire: a broker that listens may still be far from answering.
answers() {
    local n
    n=$( { exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
           printf '\0\0\0\017\0\022\0\0\0\0\0\001\0\005ready' >&3
           timeout 2 head -c 8 <&3 | wc -c; } 2>/dev/null ) || return 1
    [ "$n" = 8 ]
}

# Topics are never made by accident: a test that names a missing topic must find it missing.
write_properties() {
    cat <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$(($1 + 1))
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$(($1 + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$1
log.dirs=$data/logs
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
num.network.threads=2
num.io.threads=2
P
    [ -z "${KAFKA_EXTRA:-}" ] || cat "$KAFKA_EXTRA"
}

start() {
    local port=$1 i
    if alive; then die "already running in $data"; fi
    if answers "$port"; then die "port $port is taken"; fi
    [ -e "$lib/.complete" ] || die "no $lib: run 'kafka.sh fetch'"
    mkdir -p "$data"
    write_properties "$port" > "$data/server.properties"
    [ -s "$data/logs/meta.properties" ] ||
        tool kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c "$data/server.properties" > "$data/format.log" 2>&1 ||
        die "format failed: $(tail -3 "$data/format.log")"
    : > "$data/server.log"
    setsid java ${KAFKA_HEAP:--Xms128m -Xmx768m} $jvm -Dlog4j2.configurationFile="$here/log4j2.properties" \
        -Dkafka.logs.dir="$data" -cp "$lib/*" kafka.Kafka "$data/server.properties" \
        > "$data/stdout.log" 2>&1 < /dev/null &
    echo $! > "$data/pid"; echo "$port" > "$data/port"
    for i in $(seq 1 1200); do
        if grep -q 'Kafka Server started' "$data/server.log" 2>/dev/null && answers "$port"; then return; fi
        alive || die "broker ended: $(tail -5 "$data/stdout.log" "$data/server.log")"
        sleep 0.1
    done
    stop
    die "no answer in 120 s; see $data/server.log"
}

stop() {
    local i pid
    alive || { rm -f "$data/pid"; return 0; }
    pid=$(cat "$data/pid")
    kill -TERM "$pid"
    for i in $(seq 1 300); do alive || break; sleep 0.1; done
    if alive; then kill -KILL "$pid"; fi
    rm -f "$data/pid"
}

command=${1:-}; [ $# = 0 ] || shift
[ "$command" = fetch ] || : "${data:?KAFKA_DATA is needed}"
case $command in
fetch)  [ -e "$lib/.complete" ] ||
            mvn -q -B -ntp -f "$here/kafka-pom.xml" dependency:copy-dependencies -DoutputDirectory="$lib" >&2
        touch "$lib/.complete" ;;
start)  start "$1" ;;
stop)   stop ;;
topic)  name=$1 n=$2; shift 2; settings=(); for kv in "$@"; do settings+=(--config "$kv"); done
        tool org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$(cat "$data/port")" \
            --create --topic "$name" --partitions "$n" "${settings[@]}" ;;
tool)   tool "$@" ;;
*)      sed -n '2,10p' "$0"; exit 2 ;;
esac
